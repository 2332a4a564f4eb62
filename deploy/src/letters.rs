//! `quadrille dead-letters`, `dead-letter`, `retry`: the inputs that no service could handle.

use anyhow::{Result, bail, ensure};
use quadrille_runtime::DeadLetter;

use crate::client::{Api, ApiError};
use crate::local::Service;

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

/// Lists the dead letters of all services.
///
/// # Errors
/// A service does not answer.
pub async fn list(_: ListArgs) -> Result<()> {
    let letters = all(&Api::from_env()?).await?;
    for (_, letter) in &letters {
        let DeadLetter {
            id,
            service,
            reason,
            attempts,
            parked_at,
            ..
        } = letter;
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

/// Shows one dead letter, at every service that has it.
///
/// # Errors
/// A service does not answer, or none has it.
pub async fn show(args: ShowArgs) -> Result<()> {
    let api = Api::from_env()?;
    let holders = holders(&api, &args.id).await?;
    for service in holders {
        let (letter, body) = api.dead_letter(service, &args.id).await?;
        println!("{} could not handle {}", letter.service, letter.subject);
        println!("  because   {}", letter.reason);
        println!("  attempts  {}", letter.attempts);
        println!("  parked    {}", letter.parked_at);
        for (name, value) in &letter.headers {
            println!("  header    {name}: {value}");
        }
        println!("  body      {body}");
    }
    Ok(())
}

/// Retries one dead letter, at every service that has it, or all.
///
/// # Errors
/// A service does not answer, none has it, or some stay parked.
pub async fn retry(args: RetryArgs) -> Result<()> {
    let api = Api::from_env()?;
    let chosen: Vec<(Service, String)> = match args.id {
        Some(id) => holders(&api, &id)
            .await?
            .into_iter()
            .map(|service| (service, id.clone()))
            .collect(),
        None => all(&api)
            .await?
            .into_iter()
            .map(|(service, letter)| (service, letter.id))
            .collect(),
    };
    if chosen.is_empty() {
        println!("no dead letters");
    }
    let mut stayed = 0_usize;
    for (service, id) in &chosen {
        let name = service.name();
        match api.retry(*service, id).await {
            Ok(retried) => match retried.reason {
                None => println!("{name:<9}  {id}  {}", retried.outcome),
                Some(reason) => println!("{name:<9}  {id}  {}: {reason}", retried.outcome),
            },
            Err(ApiError::Refused { problem, .. }) => {
                stayed += 1;
                println!("{name:<9}  {id}  {}", problem.detail);
            }
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(stayed == 0, "{stayed} of {} stay parked", chosen.len());
    Ok(())
}

async fn all(api: &Api) -> Result<Vec<(Service, DeadLetter)>> {
    let mut letters = Vec::new();
    for service in Service::ALL {
        letters.extend(
            api.dead_letters(service)
                .await?
                .into_iter()
                .map(|letter| (service, letter)),
        );
    }
    Ok(letters)
}

/// Who has parked it: an event that several hear may be parked by each of them.
async fn holders(api: &Api, id: &str) -> Result<Vec<Service>> {
    let mut holders = Vec::new();
    for service in Service::ALL {
        match api.dead_letter(service, id).await {
            Ok(_) => holders.push(service),
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if holders.is_empty() {
        bail!("no service has parked {id}; `deploy/just dead-letters` lists what there is");
    }
    Ok(holders)
}
