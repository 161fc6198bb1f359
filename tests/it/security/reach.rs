//! What a job in a container with default settings can get at: looked at from inside, in the container of a real job of a real
//! `serve`.

use super::processes;
use crate::support::docker::docker;
use crate::support::metadata::{MetadataProxy, MetadataService};
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use runnerfleet::simulation::github::JobSpec;
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Knocks from within the network of a container, with this machine's own shell: `open`, `refused` or `silent`.
fn knock(container: &str, address: &str, port: u16) -> String {
    let pid = processes(container)[0].to_string();
    let script = format!(
        "timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/tmp/said-$$; code=$?; said=$(cat /tmp/said-$$); rm -f /tmp/said-$$; \
         case \"$code $said\" in 0*) echo open;; 124*) echo silent;; *refused*) echo refused;; *) echo \"$code $said\";; esac"
    );
    let output =
        Command::new("nsenter").args(["-t", &pid, "-n", "bash", "-c", &script]).output().expect("nsenter runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn inspect(container: &str) -> Value {
    let all: Value = serde_json::from_str(&docker(&["inspect", container])).unwrap();
    all[0].clone()
}

fn address_of(container: &str) -> String {
    let networks = inspect(container)["NetworkSettings"]["Networks"].clone();
    networks.as_object().unwrap().values().next().unwrap()["IPAddress"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_at_nothing_of_the_host_and_of_its_neighbours() {
    let redis = RedisServer::start();
    let (service, proxy) = (MetadataService::start(), MetadataProxy::start());
    let mut program = Program::set_up().await;
    program.serve().await;
    let (job, container) = program.busy("linux").await;
    let (other_job, other) = program.busy("linux").await;

    // What it was made with.
    let made = inspect(&container);
    let host = &made["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    assert!(host["CapAdd"].as_array().is_none_or(Vec::is_empty), "{}", host["CapAdd"]);
    assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges"]));
    assert!(host["Binds"].as_array().is_none_or(Vec::is_empty), "{}", host["Binds"]);
    assert_eq!(made["Mounts"], serde_json::json!([]));
    assert!(host["Devices"].as_array().is_none_or(Vec::is_empty), "{}", host["Devices"]);
    for shared in ["PidMode", "UTSMode", "UsernsMode"] {
        assert_ne!(host[shared], "host", "{shared}");
    }
    assert_eq!(host["IpcMode"], "private");
    assert!(host["Memory"].as_i64().unwrap() > 0 && host["MemorySwap"] == host["Memory"] && host["PidsLimit"] == 256);

    // Its files: neither of the sockets, nothing of the fleet's folder, and no way there.
    let inside = processes(&container)[0];
    let root = format!("/proc/{inside}/root");
    let fleet = program.folder.path().to_str().unwrap().to_owned();
    for path in
        ["/var/run/docker.sock", "/run/docker.sock", &format!("{fleet}/fleet.sock"), &format!("{fleet}/fleet.redb")]
    {
        assert!(!Path::new(&format!("{root}{path}")).exists(), "{path} is in the container");
    }
    let mounts = std::fs::read_to_string(format!("/proc/{inside}/mountinfo")).unwrap();
    assert!(!mounts.contains(&fleet) && !mounts.contains(".sock"), "{mounts}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", processes(&container).last().unwrap())).unwrap();
    let line =
        |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1).unwrap();
    assert_eq!((line("CapEff:"), line("CapBnd:"), line("NoNewPrivs:")), ("0000000000000000", "0000000000000000", "1"));

    // Its network. What the machine offers to everybody it offers to a job as well: that shows that the knocks arrive.
    let gateway = made["NetworkSettings"]["Networks"].as_object().unwrap().values().next().unwrap()["Gateway"].clone();
    let gateway = gateway.as_str().unwrap();
    let everybody = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    assert_eq!(knock(&container, gateway, everybody.local_addr().unwrap().port()), "open");
    // The receiver and Redis listen on the loopback, as they do by default; so does nothing of Docker's.
    let log = program.log();
    let address = log.split("listening on http://").nth(1).unwrap().split('/').next().unwrap();
    let receiver: std::net::SocketAddr = address.parse().unwrap();
    assert!(receiver.ip().is_loopback());
    for (what, port) in [("receiver", receiver.port()), ("Redis", redis.port()), ("Docker", 2375), ("Docker", 2376)] {
        for at in [gateway, "127.0.0.1"] {
            assert_eq!(knock(&container, at, port), "refused", "{what} at {at}");
        }
    }
    for address in [&service.address, &proxy.address] {
        assert_eq!(knock(&container, address, service.port), "silent", "{address}");
    }
    assert_eq!(knock(&container, &address_of(&other), 9), "silent");
    assert_eq!(knock(&other, &address_of(&container), 9), "silent");

    for job in [job, other_job] {
        assert!(program.github.cancel(job));
    }
    program.rows(&["list"], <[Value]>::is_empty).await;
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_for_everybody_gives_a_job_is_what_it_gives_everybody() {
    let mut program = Program::set_up().await;
    let mut config = program.config();
    config["http"]["listen"] = "0.0.0.0:0".into();
    program.write_config(&config);
    program.serve().await;
    let (job, container) = program.busy("linux").await;
    let log = program.log();
    let port = log.split("listening on http://").nth(1).unwrap().split('/').next().unwrap().rsplit(':').next().unwrap();
    let gateway =
        inspect(&container)["NetworkSettings"]["Networks"].as_object().unwrap().values().next().unwrap()["Gateway"]
            .clone();
    let (gateway, pid) = (gateway.as_str().unwrap().to_owned(), processes(&container)[0].to_string());
    let ask = |arguments: &[&str]| {
        let curl = ["-t", &pid, "-n", "curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"];
        let output = Command::new("nsenter").args(curl).args(arguments).output().expect("nsenter and curl run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let url = |path: &str| format!("http://{gateway}:{port}{path}");
    assert_eq!(ask(&[&url("/healthz")]), "200");
    let forged = ["-X", "POST", "-H", "X-GitHub-Event: workflow_job", "-H", "X-GitHub-Delivery: 1", "-d", "{}"];
    assert_eq!(ask(&[&forged[..], &[&url("/webhook")]].concat()), "401", "nothing is believed without a signature");
    // The verbs' socket is on no network.
    for path in ["/v1/overview", "/v1/remove", "/v1/reload"] {
        assert_eq!(ask(&[&url(path)]), "404", "{path}");
    }
    assert!(program.github.cancel(job));
    program.rows(&["list"], <[Value]>::is_empty).await;
    assert_eq!(program.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_on_disk_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let mut program = Program::set_up().await;
    program.serve().await;
    let job = program.github.queue_job(JobSpec::new("acme/web", ["self-hosted", "linux"]).lasting(Duration::ZERO));
    program.github.wait_for_job(job, crate::support::app::PATIENCE).await.unwrap();
    for name in ["fleet.sock", "fleet.redb"] {
        let mode = std::fs::metadata(program.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    program.rows(&["list"], <[Value]>::is_empty).await;
    assert_eq!(program.stop().await, Some(0));
}
