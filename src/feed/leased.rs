//! A version that stays readable for as long as a feed uses it.

use std::pin::pin;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::maintenance::Lease;
use crate::snapshot::Snapshot;
use crate::table::Table;

/// A shorter lease is renewed too often to be of use.
const LASTS_MIN: Duration = Duration::from_secs(1);
/// How often a lease is renewed before it would end.
const RENEWALS: u32 = 4;

/// A lease that a task of its own renews until this is dropped, and then releases. Where the process dies, it ends by
/// itself.
#[derive(Debug)]
pub(super) struct Leased {
    /// Dropped with this: that is what the task waits for.
    _end: oneshot::Sender<()>,
}

impl Leased {
    /// Claims a version.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the lease is shorter than a second, and as [`Table::lease`].
    pub(super) async fn of(snapshot: &Snapshot, lasts: Duration) -> Result<Self> {
        if lasts < LASTS_MIN {
            let message = "a lease of a feed lasts for a second at least";
            return Err(Error::invalid(Code::InvalidArgument, message));
        }
        let lease = Table::of(snapshot.clone()).lease(snapshot, lasts).await?;
        let (end, ended) = oneshot::channel();
        let environment = snapshot.environment();
        let _detached = environment.spawn(keep(lease, lasts, ended, environment.clone()));
        Ok(Self { _end: end })
    }
}

async fn keep(
    lease: Lease,
    lasts: Duration,
    mut ended: oneshot::Receiver<()>,
    environment: Environment,
) {
    loop {
        let pause = pin!(environment.sleep(lasts / RENEWALS));
        if let Either::Left(_) = select(&mut ended, pause).await {
            break;
        }
        match lease.renew().await {
            Ok(()) => {}
            Err(error) if error.code() == Code::FilesExpired => {
                // Whoever reads a file that is gone is told so.
                tracing::warn!(%error, "lease_ended: a feed reads a version whose files may go");
                return;
            }
            // It lasts for some more renewals.
            Err(error) => tracing::warn!(%error, "lease_not_renewed: it is tried again"),
        }
    }
    if let Err(error) = lease.release().await {
        tracing::debug!(%error, "a lease that was not released ends by itself");
    }
}
