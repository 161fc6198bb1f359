/*
 * The way of a delivery: pushed with its mark, answered, handed out, applied to its job's row, acknowledged. `webhook`, `queue`,
 * `ingest`. Two managers on one queue and one store. `scripts/model` runs it; models/README.md says what it shows.
 *
 * A step of the model is one call that the program awaits; between any two of them a manager may be killed. GitHub's two events of
 * one job, `queued` and `completed`, come in any order, and again for as long as they were not answered with 2xx, or even then.
 *
 * Left out: Redis that loses what it acknowledged (a failover without `WAIT`, `appendfsync everysec`): then a promise is only as
 * good as Redis's own, as docs and `doctor` say.
 */

#ifndef SENDS
#define SENDS 2                 /* how often each event is sent at most */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef RETURNS
#define RETURNS 1               /* how often one that is out is given to another though its reader lives: it was too slow */
#endif

#define EVENTS 2
/* Event 0 is `queued`, event 1 is `completed`; a row's rank is 0 (none), 1, 2. */
#define rank_of(e) (e + 1)

/* Where an event is in the queue. */
#define nowhere 0
#define waits 1
#define out 2
#define done 3

/* The queue, on disk. */
bool marked[EVENTS];
byte place[EVENTS];
byte reader[EVENTS];

/* The store, on disk: one row. */
byte rank;
byte version;

/* GitHub. */
bool answered[EVENTS];          /* with 2xx, at least once */
byte sends[EVENTS];

/* The managers. */
bool killed[2];
bool dead[2];
bool cut[EVENTS];               /* the connection of a request */

/* An event that was answered is in the queue, or its job's row has it. This is the promise. */
#define kept(e) (!answered[e] || place[e] == waits || place[e] == out || rank >= rank_of(e))
inline holds() { assert(kept(0) && kept(1)) }

/* `Queue::push`, then the answer. */
inline receive(e) {
#ifdef MARK_BEFORE_EVENT
    new = !marked[e];
    marked[e] = true;
    if
    :: new -> place[e] = waits
    :: else
    fi;
#else
#ifdef ANSWER_BEFORE_EVENT
    d_step { answered[e] = true; printf("%d: 202 for event %d\n", m, e) };
#endif
    d_step {
        new = !marked[e]; marked[e] = true;
        if
        :: new -> place[e] = waits; printf("%d: event %d is in the queue\n", m, e)
        :: else -> printf("%d: event %d was seen before\n", m, e)
        fi
    };
#endif
    d_step { answered[e] = true; printf("%d: 2xx for event %d\n", m, e); holds() }
}

/* `ingest`: the row as the memory has it, a compare-and-set, and again as it stands if somebody was faster. */
inline apply(e) {
#ifdef ACKNOWLEDGE_BEFORE_WRITE
    d_step { place[e] = done; printf("%d: event %d is acknowledged\n", m, e); holds() };
#endif
    do
    :: known >= rank_of(e) -> break                 /* it changes nothing */
    :: known < rank_of(e) ->
        atomic {
            if
#ifdef NO_COMPARE_AND_SET
            :: true ->
#else
            :: version == seen ->
#endif
                assert(rank <= rank_of(e));         /* a row only moves forward */
                rank = rank_of(e); version++; known = rank; seen = version;
                printf("%d: the row has event %d\n", m, e)
            :: else -> known = rank; seen = version; printf("%d: somebody wrote the row first\n", m)
            fi
        }
    od;
#ifndef ACKNOWLEDGE_BEFORE_WRITE
    atomic { place[e] = done; printf("%d: event %d is acknowledged\n", m, e); holds() }
#endif
}

/* What a manager reads at its start, and hears of sooner or later: perhaps old, never wrong. */
proctype Ingest(byte m) {
    byte e, known, seen;
endagain:
    {
end:    do
        :: atomic { place[0] == waits -> place[0] = out; reader[0] = m; e = 0 };
            apply(0)
        :: atomic { place[1] == waits -> place[1] = out; reader[1] = m; e = 1 };
            apply(1)
        od
    } unless {
        /* What was handed out to it comes back: at once if it starts again, after the visibility time-out to the other. */
        atomic { killed[m] -> killed[m] = false; known = 0; seen = 0; e = 0; printf("%d: is killed\n", m) }
    };
    if
    :: atomic { true ->
            known = rank; seen = version;
            if :: place[0] == out && reader[0] == m -> place[0] = waits :: else fi;
            if :: place[1] == out && reader[1] == m -> place[1] = waits :: else fi;
            goto endagain
        }
    :: atomic { !dead[1 - m] -> dead[m] = true; printf("%d: and stays so\n", m) }
    fi
}

/* A request of GitHub's. Without an answer it is sent again; with one it may be, too (a person, or a second hook). */
proctype Delivery(byte e) {
    byte m;
    bool new;
end:do
    :: sends[e] < SENDS ->
        sends[e]++;
        if :: m = 0 :: m = 1 fi;
        {
            receive(e)
        } unless {
            /* The receiver dies on the way: GitHub hears nothing. Its fate is another process's; this is one request's. */
            atomic { cut[e] -> cut[e] = false; printf("the connection of event %d breaks\n", e) }
        };
        m = 0; new = false
    od
}



proctype World() {
    byte crashes = CRASHES, returns = RETURNS;
end:do
    :: atomic { crashes > 0 && !dead[0] -> crashes--; killed[0] = true }
    :: atomic { crashes > 0 && !dead[1] -> crashes--; killed[1] = true }
    :: atomic { crashes > 0 && sends[0] > 0 && sends[0] < SENDS -> crashes--; cut[0] = true }
    :: atomic { crashes > 0 && sends[1] > 0 && sends[1] < SENDS -> crashes--; cut[1] = true }
    :: atomic { returns > 0 && place[0] == out -> returns--; place[0] = waits; printf("event 0 comes back\n") }
    :: atomic { returns > 0 && place[1] == out -> returns--; place[1] = waits; printf("event 1 comes back\n") }
#ifndef NOTHING_COMES_BACK
    :: atomic { place[0] == out && dead[reader[0]] -> place[0] = waits; printf("event 0 comes back\n") }
    :: atomic { place[1] == out && dead[reader[1]] -> place[1] = waits; printf("event 1 comes back\n") }
#endif
    od
}

init {
    atomic { run Ingest(0); run Ingest(1); run Delivery(0); run Delivery(1); run World() }
}

/* What was answered takes effect, whoever dies on the way. */
ltl applied { [] (answered[0] -> <> (rank >= 1)) && [] (answered[1] -> <> (rank == 2)) }
