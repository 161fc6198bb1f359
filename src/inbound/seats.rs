//! How many may be here at once: in all, and of one client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::warn;

/// So many of those that are too many are told so. The rest is only closed.
const ASIDE: usize = 64;

/// So many of them for one client, so that it cannot have them all.
const ASIDE_FOR_ONE: usize = 4;

/// Whom a seat is counted for: an address, or the network that a client of IPv6 has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client(IpAddr);

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(six) => {
                let [a, b, c, d, ..] = six.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
            four @ IpAddr::V4(_) => Self(four),
        }
    }
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All are taken.
    House,
    /// The client has all that one client may have.
    Client,
}

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    connections: usize,
    aside: usize,
    clients: HashMap<Client, Usage>,
    told: bool,
}

#[derive(Debug, Default)]
struct Usage {
    seats: usize,
    aside: usize,
    told: bool,
}

/// One seat, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    client: Option<Client>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connection,
    Request,
    Aside,
}

impl Seats {
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, taken: Mutex::default() }
    }

    /// A seat for a connection; `counted` where it is the client's own, and not one of a proxy for many.
    pub(super) fn connection(self: &Arc<Self>, from: IpAddr, counted: bool) -> Result<Seat, Full> {
        let client = counted.then(|| Client::of(from));
        let mut taken = self.taken();
        if taken.connections >= self.most {
            if !std::mem::replace(&mut taken.told, true) {
                warn!(client = %from, "all {} connections are taken (http.limits.connections); more are refused", self.most);
            }
            return Err(Full::House);
        }
        if let Some(client) = client {
            self.count(&mut taken, client, from)?;
        }
        taken.connections += 1;
        Ok(Seat { seats: Arc::clone(self), client, kind: Kind::Connection })
    }

    /// A seat for a request of a client that came through a proxy.
    pub(super) fn request(self: &Arc<Self>, from: IpAddr) -> Result<Seat, Full> {
        let client = Client::of(from);
        self.count(&mut self.taken(), client, from)?;
        Ok(Seat { seats: Arc::clone(self), client: Some(client), kind: Kind::Request })
    }

    /// A place for one that has no seat and is told so; none where too many are being told.
    pub(super) fn aside(self: &Arc<Self>, from: IpAddr) -> Option<Seat> {
        let client = Client::of(from);
        let mut taken = self.taken();
        if taken.aside >= ASIDE || taken.clients.get(&client).is_some_and(|usage| usage.aside >= ASIDE_FOR_ONE) {
            return None;
        }
        taken.aside += 1;
        taken.clients.entry(client).or_default().aside += 1;
        Some(Seat { seats: Arc::clone(self), client: Some(client), kind: Kind::Aside })
    }

    fn count(&self, taken: &mut Taken, client: Client, from: IpAddr) -> Result<(), Full> {
        let usage = taken.clients.entry(client).or_default();
        if usage.seats < self.most_of_one {
            usage.seats += 1;
            return Ok(());
        }
        if !std::mem::replace(&mut usage.told, true) {
            warn!(
                client = %from,
                "the client has {} connections (http.limits.connections_per_address); more are refused",
                self.most_of_one
            );
        }
        Err(Full::Client)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        match self.kind {
            Kind::Connection => {
                taken.connections -= 1;
                // Told again only after there was plenty of room, not at each seat that comes free.
                taken.told &= taken.connections >= self.seats.most / 2;
            }
            Kind::Aside => taken.aside -= 1,
            Kind::Request => {}
        }
        let Some(client) = self.client else { return };
        if let Some(usage) = taken.clients.get_mut(&client) {
            if self.kind == Kind::Aside {
                usage.aside -= 1;
            } else {
                usage.seats -= 1;
            }
            if usage.seats == 0 && usage.aside == 0 {
                taken.clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn seats_are_bounded_in_all_and_for_each_client_and_come_back() {
        let seats = Arc::new(Seats::new(3, 2));
        let (here, there) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let first = seats.connection(here, true).unwrap();
        let _second = seats.connection(here, true).unwrap();
        assert_eq!(seats.connection(here, true).unwrap_err(), Full::Client);
        let third = seats.connection(there, true).unwrap();
        assert_eq!(seats.connection(there, true).unwrap_err(), Full::House);
        drop(first);
        drop(seats.connection(here, true).unwrap());
        drop(third);
        // A proxy's connections count in all, and its clients' requests for each.
        let _proxy = seats.connection(there, false).unwrap();
        let requests: Vec<_> = (0..2).map(|_| seats.request(there).unwrap()).collect();
        assert_eq!(seats.request(there).unwrap_err(), Full::Client);
        drop(requests);
        drop(seats.request(there).unwrap());
        drop((_second, _proxy));
        assert!(seats.taken().clients.is_empty() && seats.taken().connections == 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let seats = Arc::new(Seats::new(10, 1));
        let _seat = seats.connection(ip("2001:db8:0:1::1"), true).unwrap();
        assert_eq!(seats.connection(ip("2001:db8:0:1:ffff::2"), true).unwrap_err(), Full::Client);
        let _other = seats.connection(ip("2001:db8:0:2::1"), true).unwrap();
        let _four = seats.connection(ip("::ffff:192.0.2.1"), true).unwrap();
        assert_eq!(seats.connection(ip("192.0.2.1"), true).unwrap_err(), Full::Client);
    }

    #[test]
    fn not_even_the_refusals_are_without_bound() {
        let seats = Arc::new(Seats::new(0, 0));
        let one: Vec<_> = (0..100).filter_map(|_| seats.aside(ip("192.0.2.1"))).collect();
        assert_eq!(one.len(), ASIDE_FOR_ONE);
        let many: Vec<_> = (0..=255).filter_map(|last| seats.aside(IpAddr::from([198, 51, 100, last]))).collect();
        assert_eq!(one.len() + many.len(), ASIDE);
        drop((one, many));
        assert!(seats.taken().clients.is_empty() && seats.taken().aside == 0);
    }
}
