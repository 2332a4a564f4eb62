//! `quadrille dead-letters`, `dead-letter`, `retry`: the inputs that no service could handle.

use anyhow::{Result, ensure};
use quadrille_runtime::operator::Operator;
use quadrille_runtime::{DeadLetter, Parked, printable};

use quadrille_local::client::{Api, ApiError};
use quadrille_local::{Service, nats_url};

/// List the inputs that a service could not handle
#[derive(clap::Args, Debug)]
pub struct ListArgs {}

/// Show one dead letter: why, from where, and what it says
#[derive(clap::Args, Debug)]
pub struct ShowArgs {
    /// Its id, as `dead-letters` lists it: KV_order.17.42
    id: String,
}

/// Hand dead letters to their service again, through the same door with the same idempotency
#[derive(clap::Args, Debug)]
pub struct RetryArgs {
    /// Its id, as `dead-letters` lists it
    #[arg(required_unless_present = "all")]
    id: Option<String>,
    /// All of them
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

/// Lists the dead letters of all services, whether they run or not.
pub async fn list(_: ListArgs) -> Result<()> {
    let letters = operator().await?.dead_letters().await?;
    for letter in &letters {
        let DeadLetter {
            id,
            service,
            reason,
            attempts,
            parked_at,
            ..
        } = letter;
        let (id, reason) = (printable(id), printable(reason));
        println!("{service:<9}  {id}  parked {parked_at:.0} at attempt {attempts}: {reason}");
    }
    match letters.len() {
        0 => println!("no dead letters"),
        1 => println!(
            "\n1 dead letter; `deploy/just dead-letter <id>` shows it, `deploy/just retry <id>` tries again"
        ),
        many => println!(
            "\n{many} dead letters; `deploy/just dead-letter <id>` shows one, `deploy/just retry --all` tries again"
        ),
    }
    Ok(())
}

/// Shows one dead letter, at every service that has it: an event that several hear may be parked by each of them.
pub async fn show(args: ShowArgs) -> Result<()> {
    for Parked { letter, body } in parked(&args.id).await? {
        println!(
            "{} could not handle {}",
            letter.service,
            printable(&letter.subject)
        );
        println!("  because   {}", printable(&letter.reason));
        println!("  attempts  {}", letter.attempts);
        println!("  parked    {}", letter.parked_at);
        for (name, value) in &letter.headers {
            println!("  header    {}: {}", printable(name), printable(value));
        }
        println!("  body      {}", printable(&String::from_utf8_lossy(&body)));
    }
    Ok(())
}

/// Retries one dead letter, at every service that has it, or all. Only the service itself can: it writes to its bucket.
pub async fn retry(args: RetryArgs) -> Result<()> {
    let api = Api::from_env()?;
    let chosen: Vec<DeadLetter> = match args.id {
        Some(id) => parked(&id)
            .await?
            .into_iter()
            .map(|parked| parked.letter)
            .collect(),
        None => operator().await?.dead_letters().await?,
    };
    if chosen.is_empty() {
        println!("no dead letters");
    }
    let mut stayed = 0_usize;
    for DeadLetter {
        service: name, id, ..
    } in &chosen
    {
        let shown = printable(id);
        let Some(service) = Service::ALL.into_iter().find(|service| service.name() == name) else {
            stayed += 1;
            println!(
                "{name:<9}  {shown}  not tried: where {name} listens, POST /dead-letters/{shown}/retry does it"
            );
            continue;
        };
        match api.retry(service, id).await {
            Ok(retried) => match retried.reason {
                None => println!("{name:<9}  {shown}  {}", retried.outcome),
                Some(reason) => println!("{name:<9}  {shown}  {}: {reason}", retried.outcome),
            },
            Err(ApiError::Refused { problem, .. }) => {
                stayed += 1;
                println!("{name:<9}  {shown}  {}", printable(&problem.detail));
            }
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(stayed == 0, "{stayed} of {} stay parked", chosen.len());
    Ok(())
}

async fn operator() -> Result<Operator> {
    Operator::connect(&nats_url()?).await
}

async fn parked(id: &str) -> Result<Vec<Parked>> {
    let parked = operator().await?.dead_letter(id).await?;
    ensure!(
        !parked.is_empty(),
        "no service has parked {id}; `deploy/just dead-letters` lists what there is"
    );
    Ok(parked)
}
