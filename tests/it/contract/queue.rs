//! The queue's contract.

use super::{Bed, NEVER, Parts, SOON, at, event, numbers, on_both};
use runnerfleet::model::DeliveryId;
use runnerfleet::queue::{EventId, Pushed, Queue, Received};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

on_both!(
    events_come_in_order_and_go_when_acknowledged,
    a_repeated_delivery_is_one_event,
    many_pushes_of_one_delivery_at_once_are_one_event,
    what_was_not_acknowledged_comes_back_after_a_restart,
    what_was_not_acknowledged_comes_back_after_the_timeout,
    receive_waits_for_a_push,
    receive_that_is_dropped_loses_nothing,
    old_marks_are_forgotten_and_young_ones_kept,
    it_knows_which_deliveries_it_has_seen,
);

async fn push(queue: &Arc<dyn Queue>, from: u64, to: u64) {
    for number in from..to {
        assert_eq!(queue.push(event(number)).await.unwrap(), Pushed::New);
    }
}

async fn receive(queue: &Arc<dyn Queue>, max: usize) -> Vec<Received> {
    timeout(SOON, queue.receive(max)).await.expect("there is an event").unwrap()
}

fn ids(events: &[Received]) -> Vec<EventId> {
    events.iter().map(|event| event.id.clone()).collect()
}

async fn events_come_in_order_and_go_when_acknowledged(mut bed: Bed) {
    let Parts { queue, .. } = bed.manager("a");
    queue.ping().await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
    push(&queue, 0, 25).await;
    assert_eq!(queue.depth().await.unwrap(), 25);

    let first = receive(&queue, 10).await;
    assert_eq!(numbers(&first), (0..10).collect::<Vec<_>>());
    assert_eq!(first[3].event, Ok(event(3)));
    let second = receive(&queue, 100).await;
    assert_eq!(numbers(&second), (10..25).collect::<Vec<_>>());

    queue.ack(&ids(&first)).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 15);
    queue.ack(&ids(&first)).await.unwrap();
    queue.ack(&[]).await.unwrap();
    queue.ack(&ids(&second)).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 0);
}

async fn a_repeated_delivery_is_one_event(mut bed: Bed) {
    let manager = bed.manager("a");
    let queue = &manager.queue;
    push(queue, 1, 2).await;
    assert_eq!(queue.push(event(1)).await.unwrap(), Pushed::Repeated);
    let mut of_another_hook = event(1);
    of_another_hook.delivery.hook = "other".into();
    assert_eq!(queue.push(of_another_hook).await.unwrap(), Pushed::New);

    let events = receive(queue, 10).await;
    assert_eq!(events.len(), 2);
    queue.ack(&ids(&events)).await.unwrap();
    assert_eq!(queue.push(event(1)).await.unwrap(), Pushed::Repeated, "the mark outlives the event");
    let manager = bed.restarted(manager, "a");
    assert_eq!(manager.queue.push(event(1)).await.unwrap(), Pushed::Repeated, "and the process");
    assert_eq!(manager.queue.depth().await.unwrap(), 0);
}

async fn many_pushes_of_one_delivery_at_once_are_one_event(mut bed: Bed) {
    let managers = [bed.manager("a"), bed.manager("b")];
    let pushes = (0..200).map(|number| {
        let queue = Arc::clone(&managers[number % 2].queue);
        tokio::spawn(async move { queue.push(event(number as u64 / 4)).await.unwrap() })
    });
    let mut new = 0;
    for push in pushes.collect::<Vec<_>>() {
        new += usize::from(push.await.unwrap() == Pushed::New);
    }
    assert_eq!(new, 50);
    assert_eq!(managers[0].queue.depth().await.unwrap(), 50);
}

async fn what_was_not_acknowledged_comes_back_after_a_restart(mut bed: Bed) {
    let manager = bed.manager("a");
    push(&manager.queue, 0, 6).await;
    let out = receive(&manager.queue, 4).await;
    manager.queue.ack(&[out[0].id.clone(), out[2].id.clone()]).await.unwrap();

    let manager = bed.restarted(manager, "a");
    let mut back = Vec::new();
    while back.len() < 4 {
        back.extend(receive(&manager.queue, 3).await);
    }
    assert_eq!(numbers(&back), [1, 3, 4, 5]);
    manager.queue.ack(&ids(&back)).await.unwrap();
    assert_eq!(manager.queue.depth().await.unwrap(), 0);
}

async fn what_was_not_acknowledged_comes_back_after_the_timeout(bed: Bed) {
    let mut bed = bed.with_visibility(Duration::from_millis(400));
    let manager = bed.manager("a");
    push(&manager.queue, 0, 3).await;
    let out = receive(&manager.queue, 10).await;
    assert_eq!(numbers(&out), [0, 1, 2]);
    manager.queue.ack(&[out[1].id.clone()]).await.unwrap();

    let mut back = BTreeSet::new();
    while back.len() < 2 {
        back.extend(numbers(&receive(&manager.queue, 10).await));
    }
    assert_eq!(back, BTreeSet::from([0, 2]));
}

async fn receive_waits_for_a_push(mut bed: Bed) {
    let manager = bed.manager("a");
    let queue = Arc::clone(&manager.queue);
    let mut waiting = tokio::spawn(async move { queue.receive(10).await.unwrap() });
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "nothing is there yet");
    push(&manager.queue, 5, 6).await;
    let events = timeout(SOON, waiting).await.unwrap().unwrap();
    assert_eq!(numbers(&events), [5]);
}

async fn receive_that_is_dropped_loses_nothing(bed: Bed) {
    let mut bed = bed.with_visibility(NEVER);
    let manager = bed.manager("a");
    let pusher = Arc::clone(&manager.queue);
    let pushing = tokio::spawn(async move { push(&pusher, 0, 300).await });
    let mut seen = Vec::new();
    let all = async {
        let mut patience = 0;
        while seen.len() < 300 {
            patience = (patience + 137) % 1500;
            // Cut off at ever other moments: before, in and after the read.
            if let Ok(events) = timeout(Duration::from_micros(patience), manager.queue.receive(7)).await {
                seen.extend(numbers(&events.unwrap()));
            }
        }
    };
    timeout(Duration::from_secs(30), all).await.expect("all come without waiting for the visibility time-out");
    pushing.await.unwrap();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
}

async fn old_marks_are_forgotten_and_young_ones_kept(mut bed: Bed) {
    let manager = bed.manager("a");
    push(&manager.queue, 0, 10).await;
    manager.queue.forget(at(5)).await.unwrap();
    for number in 0..10 {
        let pushed = manager.queue.push(event(number)).await.unwrap();
        assert_eq!(pushed, if number < 5 { Pushed::New } else { Pushed::Repeated }, "event {number}");
    }
    assert_eq!(manager.queue.depth().await.unwrap(), 15, "events themselves are not aged out");
}

async fn it_knows_which_deliveries_it_has_seen(mut bed: Bed) {
    let manager = bed.manager("a");
    let ask = async |queue: &Arc<dyn Queue>, numbers: &[u64]| {
        let deliveries: Vec<_> = numbers.iter().map(|number| event(*number).delivery).collect();
        queue.seen(&deliveries).await.unwrap()
    };
    assert_eq!(ask(&manager.queue, &[]).await, [false; 0]);
    assert_eq!(ask(&manager.queue, &[1, 2]).await, [false, false], "asking marks nothing");
    push(&manager.queue, 2, 8).await;
    let other_hook = DeliveryId { hook: "other".into(), ..event(3).delivery };
    assert_eq!(manager.queue.seen(&[other_hook, event(3).delivery]).await.unwrap(), [false, true]);
    let events = receive(&manager.queue, 10).await;
    manager.queue.ack(&ids(&events)).await.unwrap();
    assert_eq!(ask(&manager.queue, &[1, 7, 9, 2]).await, [false, true, false, true], "the mark outlives the event");
    manager.queue.forget(at(5)).await.unwrap();
    let manager = bed.restarted(manager, "a");
    assert_eq!(ask(&manager.queue, &[4, 5]).await, [false, true], "what aged out is not known any more");
}
