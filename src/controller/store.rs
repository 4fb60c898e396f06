//! The controller's durable state: a journal of commands and the state that they add up to.
//!
//! A command counts once it is on disk: [`Store::commit`] answers after the transaction that holds it is durable, and
//! what waits meanwhile shares the next one. State changes nowhere but in [`Machine::apply`]. At start the folded rows
//! are loaded and the tail of the journal is applied again; in between, rows that changed are folded in and the journal
//! is emptied, so that starting stays short.
//!
//! What must not happen here: a decision, a look at the clock that ends up in the state, or an answer before the disk's.
//!
//! The surprising part is failure. After an I/O error nothing the database says is believed any more: it is dropped and
//! opened again, and the batch that failed may turn out to be there. Its callers were told
//! [`CommitError::Storage`], which means *unknown*: commands must bear being sent twice. Reads go on all the while.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

mod directory;
mod medium;
mod meter;
mod redb;
mod reserve;
mod seal;
mod writer;

pub use directory::{DirectoryError, check_directory};
pub use medium::{FileMedium, Medium, OpenMedium};
pub use meter::CommitFigures;
pub use writer::{holds_state, recreate};

use meter::Meter;
use writer::{Submission, Writer};

/// The format of the database file. A greater one is refused; each older one keeps a fixture in the tests.
pub const FORMAT: u64 = 1;

/// The state machine that the store makes durable.
pub trait Machine: Default + Send + Sync + 'static {
    /// One change, as data. Time and random ids travel inside it.
    type Command: Send + Sync + 'static;
    /// What a change did, for whoever asked for it.
    type Effect: Send + 'static;

    /// The version of the records that it writes.
    const VERSION: u8;

    /// Versioned bytes of a command; the first byte is the version.
    fn encode(command: &Self::Command) -> Vec<u8>;

    /// Reads what [`encode`](Self::encode) wrote, in this version or an older one.
    ///
    /// # Errors
    /// The record is newer than this program, or is not one.
    fn decode(record: &[u8]) -> Result<Self::Command, RecordError>;

    /// Makes the change. Deterministic; `sequence` strictly increases.
    fn apply(&mut self, sequence: u64, command: &Self::Command) -> Self::Effect;

    /// Takes in one folded row at start.
    ///
    /// # Errors
    /// The record is newer than this program, or is not one.
    fn load(&mut self, key: &str, record: &[u8]) -> Result<(), RecordError>;

    /// The rows that changed since the last call; forgets which they were.
    fn changes(&mut self) -> Vec<RowChange>;
}

/// A row that has to be written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    pub key: String,
    /// The row's bytes, the first of which is a version; `None` removes the row.
    pub record: Option<Vec<u8>>,
}

/// Why a stored record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the record has version {0}, which is newer than this program")]
    Newer(u8),
    #[error("the record cannot be decoded: {0}")]
    Malformed(String),
}

/// How the store works; the defaults are meant for production.
#[derive(Clone)]
pub struct StoreOptions {
    /// Commands in one transaction at most.
    pub batch: usize,
    /// Commands that may wait; more are refused with [`CommitError::Overloaded`].
    pub queue: usize,
    /// Fold when the journal holds this many records.
    pub fold_records: u64,
    /// Fold when the oldest unfolded record is this old.
    pub fold_after: Duration,
    /// The database's cache in bytes.
    pub cache: usize,
    /// The first and the longest wait between attempts to reopen after an I/O error.
    pub reopen: (Duration, Duration),
    /// Bytes of the disk to keep back for when it is full; 0 for none.
    pub reserve: u64,
    /// Called by the writer as long as it gets on, this often at least: a supervisor is told by it.
    pub pulse: Option<(Duration, Arc<dyn Fn() + Send + Sync>)>,
    /// What the database is kept on; `None` is the file itself. Tests put a disk that fails or is slow here.
    pub medium: Option<OpenMedium>,
    pub writing: Writing,
}

/// Where the writer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// In a thread of its own, which writes together what comes at the same time.
    Thread,
    /// In the task that opens, commits or closes, which does nothing else meanwhile. For simulations: where time passes
    /// only while nobody is busy, waiting for another thread would let it pass, and nothing would come twice in the same
    /// order. Nothing is folded before the store is closed, and after an error of the disk it is opened again by the next
    /// commit.
    Caller,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            batch: 256,
            queue: 4096,
            fold_records: 10_000,
            fold_after: Duration::from_secs(60),
            cache: 8 * 1024 * 1024,
            reopen: (Duration::from_millis(100), Duration::from_secs(5)),
            reserve: 8 * 1024 * 1024,
            pulse: None,
            medium: None,
            writing: Writing::Thread,
        }
    }
}

/// Why the state cannot be opened. Nothing was changed, and nothing is ever made anew in place of what cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("the state in `{}` is in use by another process{}", path.display(), holder(*pid))]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("`{}` was written by a newer clusterctl: {what}", path.display())]
    NewerFormat { path: PathBuf, what: String },
    #[error("`{}` is damaged: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
    #[error("cannot open `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// Why a command was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing was changed.
    #[error("too many changes wait to be written")]
    Overloaded,
    /// Whether the change was made is not known until the storage works again.
    #[error("the state cannot be written: {0}")]
    Storage(String),
    /// As for `Storage`, if the store closed while the command waited.
    #[error("the state is closed")]
    Closed,
}

/// A command that is durable and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<E> {
    pub sequence: u64,
    pub effect: E,
}

/// Whether the store can write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    #[default]
    Writable,
    /// For how long it has not been, and why.
    Failing {
        seconds: u64,
        reason: String,
    },
    Closed,
}

/// The store at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoreStatus {
    /// The last command applied.
    pub sequence: u64,
    /// The last command that is in the rows.
    pub folded: u64,
    /// Commands in the journal, and how many there may be before they are folded.
    pub journal: u64,
    pub max_journal: u64,
    pub rows: u64,
    /// Bytes of the rows, with their keys.
    pub row_bytes: u64,
    pub file_bytes: u64,
    /// The most that the database's cache holds.
    pub max_cache_bytes: u64,
    /// Commands waiting, how many may, and how many were turned away since the start.
    pub queued: u64,
    pub max_queued: u64,
    pub turned_away: u64,
    /// Commands made durable since the start, transactions that carried them, folds and compactions.
    pub commands: u64,
    pub batches: u64,
    pub max_batch: u64,
    pub folds: u64,
    pub compactions: u64,
    pub commits: CommitFigures,
    /// Whether some of the disk is kept back for when it is full; not where it is nearly so.
    pub reserve_held: bool,
    pub health: Health,
}

/// What the writer tells the other threads.
#[derive(Debug, Default)]
struct Board {
    sequence: u64,
    folded: u64,
    rows: u64,
    row_bytes: u64,
    file_bytes: u64,
    commands: u64,
    batches: u64,
    folds: u64,
    compactions: u64,
    meter: Meter,
    reserve_held: bool,
    failing: Option<(Instant, String)>,
}

/// What holds for as long as the store is open.
#[derive(Debug, Default)]
struct Bounds {
    journal: u64,
    cache: u64,
    queue: u64,
    batch: u64,
}

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    bounds: Bounds,
    /// Says the same as `board.failing`, without the lock.
    failing: AtomicBool,
    closing: AtomicBool,
    queued: AtomicUsize,
    turned_away: AtomicU64,
}

impl Shared {
    fn new(options: &StoreOptions) -> Self {
        let bounds = Bounds {
            journal: options.fold_records,
            cache: options.cache as u64,
            queue: options.queue as u64,
            batch: options.batch as u64,
        };
        Self { bounds, ..Self::default() }
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The durable state. Clones are the same store.
pub struct Store<M: Machine> {
    machine: Arc<RwLock<M>>,
    shared: Arc<Shared>,
    inbox: SyncSender<Submission<M>>,
    /// The writer, where it has no thread, until it is closed.
    writer: Option<Arc<Mutex<Option<Writer<M>>>>>,
    changed: watch::Receiver<u64>,
    /// Ends when the writer has.
    ended: watch::Receiver<()>,
}

impl<M: Machine> std::fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.status()).finish()
    }
}

impl<M: Machine> Clone for Store<M> {
    fn clone(&self) -> Self {
        Self {
            machine: Arc::clone(&self.machine),
            shared: Arc::clone(&self.shared),
            inbox: self.inbox.clone(),
            writer: self.writer.clone(),
            changed: self.changed.clone(),
            ended: self.ended.clone(),
        }
    }
}

impl<M: Machine> Store<M> {
    /// Opens the state in `dir`, or makes it if there is none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(dir: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        if options.writing == Writing::Caller {
            return Writer::<M>::open(dir, options);
        }
        let dir = dir.to_owned();
        let opening = {
            let dir = dir.clone();
            tokio::task::spawn_blocking(move || Writer::<M>::open(&dir, options))
        };
        match opening.await {
            Ok(opened) => opened,
            // The database asserts what a damaged file breaks.
            Err(panic) => Err(OpenError::Corrupt { path: directory::database(&dir), what: panic.to_string() }),
        }
    }

    /// Makes a command durable and applies it.
    ///
    /// The command is carried out even if the returned future is dropped.
    ///
    /// # Errors
    /// See [`CommitError`] for what is known then.
    pub async fn commit(&self, command: M::Command) -> Result<Committed<M::Effect>, CommitError> {
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(CommitError::Closed);
        }
        if self.shared.failing.load(Ordering::Acquire) {
            // Where it has no thread, the writer tries again now.
            self.write_here();
        }
        if self.shared.failing.load(Ordering::Acquire) {
            return Err(CommitError::Storage(self.failure()));
        }
        let record = seal::seal("", &M::encode(&command));
        let (answer, answered) = oneshot::channel();
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        match self.inbox.try_send(Submission::Commit { command, record, answer }) {
            Ok(()) => {
                self.write_here();
                answered.await.unwrap_or(Err(CommitError::Closed))
            }
            Err(refused) => {
                self.shared.queued.fetch_sub(1, Ordering::Relaxed);
                Err(match refused {
                    TrySendError::Full(_) => {
                        self.shared.turned_away.fetch_add(1, Ordering::Relaxed);
                        CommitError::Overloaded
                    }
                    TrySendError::Disconnected(_) => CommitError::Closed,
                })
            }
        }
    }

    /// Looks at the state. `f` must be short: a batch that is being applied waits for it.
    pub fn read<R>(&self, f: impl FnOnce(&M) -> R) -> R {
        f(&self.machine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store now.
    #[must_use]
    pub fn status(&self) -> StoreStatus {
        let board = self.shared.board();
        let health = if self.ended.has_changed().is_err() {
            Health::Closed
        } else if let Some((since, reason)) = &board.failing {
            Health::Failing { seconds: since.elapsed().as_secs(), reason: reason.clone() }
        } else {
            Health::Writable
        };
        let bounds = &self.shared.bounds;
        StoreStatus {
            sequence: board.sequence,
            folded: board.folded,
            journal: board.sequence - board.folded,
            max_journal: bounds.journal,
            rows: board.rows,
            row_bytes: board.row_bytes,
            file_bytes: board.file_bytes,
            max_cache_bytes: bounds.cache,
            queued: self.shared.queued.load(Ordering::Relaxed) as u64,
            max_queued: bounds.queue,
            turned_away: self.shared.turned_away.load(Ordering::Relaxed),
            commands: board.commands,
            batches: board.batches,
            max_batch: bounds.batch,
            folds: board.folds,
            compactions: board.compactions,
            commits: board.meter.figures(Instant::now()),
            reserve_held: board.reserve_held,
            health,
        }
    }

    /// The last sequence applied; bumped after each batch.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Writes what waits, folds, and lets go of the files. The other clones are closed as well.
    pub async fn close(mut self) {
        self.shared.closing.store(true, Ordering::Release);
        // If the queue is full the writer is awake anyway and sees the flag.
        self.inbox.try_send(Submission::Close).ok();
        self.write_here();
        while self.ended.changed().await.is_ok() {}
    }

    /// Does the writer's next piece of work, where it has no thread.
    fn write_here(&self) {
        let Some(writer) = &self.writer else { return };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut it) = writer.take() {
            if it.turn(Duration::ZERO) {
                *writer = Some(it);
            } else {
                it.finish();
            }
        }
    }

    fn failure(&self) -> String {
        let board = self.shared.board();
        board.failing.as_ref().map_or_else(|| "it failed a moment ago".to_owned(), |(_, reason)| reason.clone())
    }
}
