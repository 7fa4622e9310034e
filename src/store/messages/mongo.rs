//! Messages in MongoDB: the collection `messages`, one document a message.
//!
//! Owns the connection, its bounds in time and what a failure means. Every question is one command, or a few when its
//! answer is long. Reads are of the primary and of what a majority holds, so that nobody is shown what may vanish.
//!
//! The driver repeats no write: what a lost answer leaves open is settled by [`insert`] with the ids of the messages,
//! which works across restarts and on servers without retryable writes (a standalone mongod has none), and cannot be
//! told apart from a retry by another lane. It does repeat a read once, within the same bound.

mod document;
mod ids;
mod insert;
mod json;
mod mark;
mod mark_old;
mod page;
mod place;
mod places;
mod read;
#[cfg(test)]
mod tests;
mod verdict;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, FindOptions, ReadConcern, ReadPreference, SelectionCriteria,
    WriteConcern,
};
use mongodb::{Client, Collection};
use tokio::sync::OnceCell;

use crate::store::fault::Fault;
use places::Places;
use verdict::Verdict;

const COLLECTION: &str = "messages";

/// Finding a server, and connecting to one.
const REACH: Duration = Duration::from_secs(2);
/// Any read.
const READ: Duration = Duration::from_secs(3);
/// Any write. The server itself gives up waiting for a majority a second earlier.
const WRITE: Duration = Duration::from_secs(5);
const MAJORITY: Duration = Duration::from_secs(4);
/// How often the driver asks a server what it is. After an error that says that it is no primary any more, it is used
/// again at the next time; the driver's own 10 s would make an outage of a moment one of ten seconds.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Making the indexes, which over an old collection takes a while; the server goes on when we stop waiting.
const INDEXES: Duration = Duration::from_secs(30);
/// Connections at most, unless the URI says otherwise: the lanes ask one thing at a time.
const POOL: u32 = 16;

const NOT_IN_TIME: Fault = Fault::Late("MongoDB did not answer in time");

/// The unique index that orders a room. Its condition is comparisons rather than `$exists`, because a planner must see
/// in a query that it is about indexed documents only, and not every one concludes that from `$exists`.
const ROOM_SEQ: &str = "alt_room_seq";
/// The unique index that makes a resend harmless.
const USER_CLIENT_MSG_ID: &str = "alt_user_client_msg_id";
/// Holds only the documents of the replaced service, so that finding them does not walk over all of ours.
const UNNUMBERED: &str = "alt_unnumbered";

/// How to reach MongoDB.
#[derive(Clone, PartialEq, Eq)]
pub struct MongoSettings {
    /// `MONGO_URI`. Secret.
    pub uri: String,
}

impl fmt::Debug for MongoSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoSettings").finish_non_exhaustive()
    }
}

/// The address cannot be used. Says nothing of its content, which is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MONGO_URI is no address of a MongoDB server; it looks like mongodb://user:password@host:27017/database")]
pub(in crate::store) struct InvalidUri;

/// The messages in MongoDB.
pub(in crate::store) struct Mongo {
    address: ConnectionString,
    messages: OnceCell<Collection<RawDocumentBuf>>,
    ready: OnceCell<()>,
    places: Places,
    /// The operator has been told what to mend.
    complained: AtomicBool,
}

impl fmt::Debug for Mongo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mongo").field("ready", &self.ready.initialized()).finish_non_exhaustive()
    }
}

impl Mongo {
    /// Reads the address; connects to nothing yet.
    ///
    /// # Errors
    /// [`InvalidUri`].
    pub(in crate::store) fn new(settings: &MongoSettings) -> Result<Self, InvalidUri> {
        let address = ConnectionString::parse(&settings.uri).map_err(|_| InvalidUri)?;
        let (messages, ready, places) = (OnceCell::new(), OnceCell::new(), Places::default());
        Ok(Self { address, messages, ready, places, complained: AtomicBool::new(false) })
    }

    /// Makes sure of the indexes, once.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        self.ready.get_or_try_init(|| self.prepare()).await.map(drop)
    }

    pub(super) async fn ping(&self) -> Result<(), Fault> {
        let command = async { self.messages().await?.client().database("admin").run_command(doc! {"ping": 1}).await };
        self.bounded(READ, command).await.map(drop)
    }

    async fn prepare(&self) -> Result<(), Fault> {
        // Making indexes may take long, finding out that nobody is there must not.
        self.ping().await?;
        self.create_indexes(vec![
            doc! {"key": {"room": 1, "seq": 1}, "name": ROOM_SEQ, "unique": true,
            "partialFilterExpression": {"room": {"$gt": ""}, "seq": {"$gt": 0}}},
            doc! {"key": {"userId": 1, "clientMsgId": 1}, "name": USER_CLIENT_MSG_ID, "unique": true,
            "partialFilterExpression": {"clientMsgId": {"$gt": ""}}},
            doc! {"key": {"conversationId": 1, "timestamp": 1, "_id": 1}, "name": UNNUMBERED,
            "partialFilterExpression": {"seq": null}},
        ])
        .await?;
        // The replaced service may have made this one under another name.
        let by_time = doc! {"key": {"conversationId": 1, "timestamp": 1}, "name": "conversationId_1_timestamp_1"};
        self.create_indexes(vec![by_time]).await?;
        self.complained.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn create_indexes(&self, indexes: Vec<Document>) -> Result<(), Fault> {
        let plain = !indexes.iter().any(|index| index.contains_key("unique"));
        let command = async {
            let command = doc! {"createIndexes": COLLECTION, "indexes": indexes, "writeConcern": {"w": "majority"}};
            let messages = self.messages().await?;
            match messages.client().database(&messages.namespace().db).run_command(command).await {
                Err(error) if plain && is_conflict(&error) => Ok(()),
                result => result.map(drop),
            }
        };
        let Ok(result) = tokio::time::timeout(INDEXES, command).await else { return Err(NOT_IN_TIME) };
        result.map_err(|error| match Verdict::of(&error) {
            Verdict::Duplicate => self.complain(
                "two documents in the collection messages share (room, seq) or (userId, clientMsgId); remove one of them",
            ),
            Verdict::Refused if is_conflict(&error) => {
                self.complain("an index of the collection messages has a name of ours and other keys; drop the alt_* indexes")
            }
            _ => self.fault(&error),
        })
    }

    /// The collection; its client is made on first use, because the address may have to be looked up in DNS.
    async fn messages(&self) -> mongodb::error::Result<&Collection<RawDocumentBuf>> {
        let connect = || async {
            let mut options = ClientOptions::parse(self.address.clone()).await?;
            let database = options.default_database.clone().unwrap_or_else(|| "test".to_owned());
            options.app_name = Some("alt-ws".to_owned());
            options.server_selection_timeout = Some(REACH);
            options.connect_timeout = Some(REACH);
            options.max_pool_size.get_or_insert(POOL);
            options.heartbeat_freq.get_or_insert(HEARTBEAT);
            options.retry_writes = Some(false);
            options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
            options.read_concern = Some(ReadConcern::majority());
            options.write_concern =
                Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(MAJORITY).build());
            Ok(Client::with_options(options)?.database(&database).collection(COLLECTION))
        };
        self.messages.get_or_try_init(connect).await
    }

    /// Runs a command of ours, which must have its own `writeConcern`.
    async fn command(&self, command: RawDocumentBuf) -> Result<Document, Fault> {
        let command = async {
            let messages = self.messages().await?;
            messages.client().database(&messages.namespace().db).run_raw_command(command).await
        };
        self.bounded(WRITE, command).await
    }

    /// Shows what a query finds, one document after the other, until there are no more or it is enough.
    async fn find(
        &self,
        filter: Document,
        mut options: FindOptions,
        mut take: impl FnMut(&RawDocument) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        options.max_time = Some(READ);
        let query = async {
            let mut cursor = self.messages().await?.find(filter).with_options(options).await?;
            while cursor.advance().await? {
                if take(cursor.current()).is_break() {
                    break;
                }
            }
            Ok(())
        };
        self.bounded(READ, query).await
    }

    /// Puts many small questions, each a pipeline over the collection, in one command for every hundred. Shows each
    /// answer with the index of its question.
    async fn ask(
        &self,
        questions: Vec<Vec<Document>>,
        concern: ReadConcern,
        mut take: impl FnMut(usize, &RawDocument),
    ) -> Result<(), Fault> {
        /// Far below the stages that a server takes in one pipeline, and one batch of answers.
        const AT_ONCE: usize = 100;
        let mut questions = questions.into_iter().enumerate().map(|(index, mut pipeline)| {
            let question = i64::try_from(index).unwrap_or(i64::MAX);
            pipeline.push(doc! {"$replaceWith": {"question": question, "answer": "$$ROOT"}});
            pipeline
        });
        while let Some(mut pipeline) = questions.next() {
            let others = questions.by_ref().take(AT_ONCE - 1);
            pipeline.extend(others.map(|pipeline| doc! {"$unionWith": {"coll": COLLECTION, "pipeline": pipeline}}));
            let query = async {
                let messages = self.messages().await?;
                let answers = messages.aggregate(pipeline).read_concern(concern.clone()).max_time(READ);
                let mut cursor = answers.await?;
                while cursor.advance().await? {
                    let document = cursor.current();
                    let question = document.get("question")?.and_then(ids::integer);
                    if let Some(index) = question.and_then(|question| usize::try_from(question).ok()) {
                        take(index, document.get_document("answer")?);
                    }
                }
                Ok(())
            };
            self.bounded(READ, query).await?;
        }
        Ok(())
    }

    /// Waits no longer than that. What is given up is dropped by the driver together with its connection.
    async fn bounded<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result.map_err(|error| self.fault(&error)),
            Err(_) => Err(NOT_IN_TIME),
        }
    }

    fn fault(&self, error: &mongodb::error::Error) -> Fault {
        match Verdict::of(error) {
            Verdict::Down(reason) => Fault::Down(reason),
            Verdict::Late(reason) => Fault::Late(reason),
            Verdict::Full => Fault::Full,
            Verdict::Operator(remedy) => self.complain(remedy),
            Verdict::Duplicate | Verdict::Refused => {
                // The server's words may repeat what a client wrote.
                match &*error.kind {
                    ErrorKind::Command(command) => {
                        tracing::error!(code = command.code, name = command.code_name, "MongoDB refused a command");
                    }
                    _ => tracing::error!("the MongoDB driver refused a command"),
                }
                Fault::Refused
            }
        }
    }

    /// Tells the operator, once until it works, what to mend; it is tried again all the same.
    fn complain(&self, remedy: &'static str) -> Fault {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::error!("{remedy}");
        }
        Fault::Down("MongoDB needs the operator")
    }
}

fn is_conflict(error: &mongodb::error::Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(command) if verdict::INDEX_CONFLICTS.contains(&command.code))
}
