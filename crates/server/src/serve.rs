//! Starting and ending the service.

use std::sync::Arc;
use std::time::Duration;

use sordino_container::{LockedFolder, memory, private_folder};
use sordino_plan::Budget;
use sordino_protocol::api::CHUNK_BYTES;
use sordino_ring::backend::Backend;
use tokio::net::TcpListener;

use crate::blobs::Blobs;
use crate::config::ServeConfig;
use crate::database::Database;
use crate::models::Models;
use crate::service::{CHUNKS_AT_ONCE, Service};
use crate::{Error, http, listener, retention, worker};

/// Memory for connections, the database and the program itself.
const PROGRAM_BYTES: u64 = 96 << 20;
/// How long to wait for the previous process to release the state folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Serves until `stop` is done; then running jobs get some time, and are stopped at a checkpoint if that is not enough.
///
/// `listening` is called with the address once clients can connect.
///
/// # Errors
/// [`Error::Config`], [`Error::Model`] where a plan cannot be used or does not fit the memory, [`Error::Service`] where the state folder
/// cannot be used or the address not be listened on.
pub fn serve(
    config: ServeConfig,
    backend: &'static Backend,
    stop: impl Future<Output = ()> + Send + 'static,
    listening: impl FnOnce(&str),
) -> Result<(), Error> {
    config
        .check()
        .map_err(|detail| Error::config("configuration", detail))?;
    let state = config.state.clone();
    let Some(_locked) = LockedFolder::open(&state, LOCK_PATIENCE)? else {
        return Err(Error::service(
            format!("state folder {}", state.display()),
            "another server uses it: stop that one, or give another folder",
        ));
    };
    private_folder(&state.join("work"))?;
    let tls = config.tls.as_ref().map(listener::tls).transpose()?;
    let models = Models::read(
        &config.models,
        backend,
        config.memory.or_else(most_of_the_memory),
        config.scratch_limit.unwrap_or(Budget::USUAL_SCRATCH_BYTES),
        PROGRAM_BYTES + 2 * CHUNK_BYTES * CHUNKS_AT_ONCE as u64,
        config.jobs_at_once,
    )?;
    let place = config.blobs.clone();
    let place = place.unwrap_or_else(|| state.join("blobs").display().to_string());
    let blobs = Blobs::open(&place)
        .map_err(|detail| Error::service(format!("blobs at {place}"), detail))?;
    let path = state.join("sordino.db");
    let database = Database::open(&path)
        .map_err(|error| Error::service(format!("database {}", path.display()), error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sordino-http")
        .build()
        .map_err(|error| Error::service("threads", error))?;
    let result = runtime.block_on(async {
        let service = Arc::new(Service::new(config, backend, models, database, blobs));
        run(service, tls, stop, listening).await
    });
    // A request that is still in progress does not keep the process running.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(
    service: Arc<Service>,
    tls: Option<tokio_rustls::TlsAcceptor>,
    stop: impl Future<Output = ()> + Send + 'static,
    listening: impl FnOnce(&str),
) -> Result<(), Error> {
    let address = service.config.listen;
    let failed = |error| Error::service(format!("address {address}"), error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    retention::recover(&service)
        .await
        .map_err(|refusal| Error::service("state", refusal.problem.detail))?;
    let workers: Vec<_> = (0..service.config.jobs_at_once)
        .map(|_| tokio::spawn(worker::work(Arc::clone(&service))))
        .collect();
    let sweeping = tokio::spawn(retention::sweep(Arc::clone(&service)));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let router = http::router(Arc::clone(&service));
    let answering = tokio::spawn(listener::listen(
        Arc::clone(&service),
        listener,
        tls,
        router,
    ));
    let models: Vec<&str> = service
        .models
        .all()
        .iter()
        .map(|model| model.name.as_str())
        .collect();
    tracing::info!(%address, ?models, clients = service.config.clients.len(), "serving");
    listening(&format!("{scheme}://{address}"));

    stop.await;
    tracing::info!(
        running = service.running_jobs(),
        waiting = service.queue.len(),
        "stopping"
    );
    service.begin_stopping();
    let all = async {
        for worker in workers {
            // A panic of a worker was logged; there is nothing more to wait for.
            let _ = worker.await;
        }
    };
    tokio::pin!(all);
    if tokio::time::timeout(service.config.shutdown, &mut all)
        .await
        .is_err()
    {
        tracing::info!("running jobs are stopped at a checkpoint");
        service.stop_all();
        all.await;
    }
    let _ = tokio::join!(sweeping, answering);
    tracing::info!("stopped");
    Ok(())
}

/// Four fifths of the memory that is free now, where the system tells.
fn most_of_the_memory() -> Option<u64> {
    Some(memory::available_bytes()? / 5 * 4)
}
