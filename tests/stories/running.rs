//! `quadrille run-all`, as a developer runs it.

use std::net::TcpStream;

use quadrille_local::client::{Api, NewOrder, until};
use quadrille_local::{Process, ProcessBuilder, Program, Service, free_port};
use quadrille_tests::{PATIENCE, quadrille};
use tempfile::TempDir;

/// Where a `run-all` of the test's own listens and keeps its data.
struct Place {
    nats_port: u16,
    ports: [(Program, u16); 5],
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            nats_port: free_port().unwrap(),
            ports: Program::ALL.map(|program| (program, free_port().unwrap())),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn run_all(&self) -> ProcessBuilder {
        let mut run_all = Process::builder("run-all", quadrille().unwrap())
            .arg("run-all")
            .env("NATS_URL", "")
            .env("NATS_PORT", self.nats_port.to_string())
            .env("QUADRILLE_DATA", self.folder.path());
        for (program, port) in self.ports {
            run_all = run_all.env(program.port_variable(), port.to_string());
        }
        run_all
    }

    fn api(&self) -> Api {
        let url = |service: Service| {
            let port = self.ports.iter().find(|(program, _)| *program == service.into());
            format!("http://127.0.0.1:{}", port.unwrap().1)
        };
        Api::at(Service::ALL.map(url)).unwrap()
    }

    fn everything_has_gone(&self) -> bool {
        let ports = self.ports.iter().map(|(_, port)| *port);
        let mut all = ports.chain([self.nats_port]);
        all.all(|port| TcpStream::connect(("127.0.0.1", port)).is_err())
    }
}

/// Waits until `run-all` says that the system is ready.
async fn ready(run_all: &mut Process) {
    let ready = until(PATIENCE, async || {
        assert!(
            run_all.try_status()?.is_none(),
            "it ended:\n{}",
            run_all.log_tail()
        );
        let said = run_all.log();
        anyhow::Ok(
            said.iter()
                .any(|line| line.starts_with("ready in "))
                .then_some(()),
        )
    });
    let ready = ready.await.unwrap();
    assert!(ready.is_some(), "it is not ready:\n{}", run_all.log_tail());
}

#[tokio::test]
async fn it_is_ready_whatever_the_services_log() {
    let place = Place::new();
    let run_all = place.run_all().env("RUST_LOG", "warn").env("LOG_FORMAT", "json");
    let mut run_all = run_all.start().unwrap();
    ready(&mut run_all).await;
    let api = place.api();
    let order = NewOrder::new().line(2, "apple");
    let id = api.create_order(&order).await.unwrap().order_id;
    let ended = api.wait_until_ended(&id, PATIENCE).await.unwrap();
    assert_eq!(ended.state, "completed");
    let status = run_all.terminate().await.unwrap();
    assert!(status.success(), "{status}:\n{}", run_all.log_tail());
    assert!(place.everything_has_gone());
}

#[tokio::test]
async fn the_shop_is_stocked_once_and_its_data_survives() {
    let place = Place::new();
    let mut first = place.run_all().start().unwrap();
    ready(&mut first).await;
    let api = place.api();
    api.put_item("bread", 7).await.unwrap();
    api.put_courier("ada", 3).await.unwrap();
    first.terminate().await.unwrap();

    let mut second = place.run_all().start().unwrap();
    ready(&mut second).await;
    assert_eq!(api.item("bread").await.unwrap()["quantity"], 7);
    let couriers = api.couriers().await.unwrap();
    let mut couriers = couriers["couriers"].as_array().unwrap().iter();
    let ada = couriers.find(|courier| courier["courier_id"] == "ada").unwrap();
    assert_eq!(ada["capacity"], 3);
}

#[tokio::test]
async fn a_taken_port_is_named_before_anything_starts() {
    let place = Place::new();
    let (program, port) = place.ports[1];
    let _holder = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut run_all = place.run_all().start().unwrap();
    let status = tokio::time::timeout(PATIENCE, run_all.wait()).await;
    assert_eq!(status.expect("it ends").unwrap().code(), Some(1));
    let last = run_all.log().pop().unwrap();
    let named = format!(
        "port {port} ({}, {}) is taken",
        program.name(),
        program.port_variable()
    );
    assert!(last.contains(&named), "{last}");
    assert!(
        !place.folder.path().join("nats").exists(),
        "no server was started"
    );
}
