//! A service and a proxy with link-local addresses. Each ends with its guard.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A neighbour of this machine with a link-local address, as a cloud's metadata service is: a network namespace behind
/// a pair of interfaces.
pub struct MetadataService {
    name: String,
    pub address: String,
    pub port: u16,
}

impl MetadataService {
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = (std::process::id() + COUNT.fetch_add(1, Ordering::Relaxed)) % 60_000;
        // 169.254.169.254 itself stays what it is on this machine, which may be one of a cloud.
        let (third, fourth) = (1 + id / 250 % 160, 1 + id % 250);
        let service = Self { name: format!("rft{id}"), address: format!("169.254.{third}.{fourth}"), port: 9 };
        let ip = |arguments: &str| {
            let output = Command::new("ip").args(arguments.split(' ')).output().expect("the `ip` program is needed");
            assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let Self { name, address, .. } = &service;
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name {name}p netns {name}"));
        ip(&format!("addr add 10.213.{third}.{fourth}/32 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("route add {address}/32 dev {name} src 10.213.{third}.{fourth}"));
        ip(&format!("-n {name} addr add {address}/32 dev {name}p"));
        ip(&format!("-n {name} link set {name}p up"));
        ip(&format!("-n {name} route add default dev {name}p"));
        service
    }
}

impl Drop for MetadataService {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A link-local address of this machine itself, as a proxy of the metadata service has one, on a bridge without members.
pub struct MetadataProxy {
    name: String,
    pub address: String,
}

impl MetadataProxy {
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = (std::process::id() + COUNT.fetch_add(1, Ordering::Relaxed)) % 60_000;
        let proxy =
            Self { name: format!("rfd{id}"), address: format!("169.254.{}.{}", 170 + id / 250 % 80, 1 + id % 250) };
        let Self { name, address } = &proxy;
        for arguments in [
            format!("link add {name} type bridge"),
            format!("addr add {address}/32 dev {name}"),
            format!("link set {name} up"),
        ] {
            let output = Command::new("ip").args(arguments.split(' ')).output().expect("the `ip` program is needed");
            assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        }
        proxy
    }
}

impl Drop for MetadataProxy {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
    }
}
