use sordino_container::Digest;
use sordino_protocol::api::{JobState, NewJob, NewKey, Problem, ProblemKind};

use super::*;
use crate::token::TokenHash;

const QUOTA: Quota = Quota {
    stored_bytes: 1000,
    open_jobs: 2,
};

struct Fixture {
    database: Database,
    folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(&folder.path().join("db")).expect("opens");
    Fixture { database, folder }
}

fn id(text: &str) -> Id {
    text.parse().expect("an identifier")
}

fn digest(text: &str) -> Digest {
    Digest::of("test", text.as_bytes())
}

fn new_job(bytes: u64) -> NewJob {
    NewJob {
        model: "mnist".to_owned(),
        plan: digest("plan"),
        key: None,
        images: 7,
        bytes,
    }
}

impl Fixture {
    fn job(&self, client: &str, name: &str, bytes: u64) -> Made {
        let made = self
            .database
            .make_job(client, &id(name), &new_job(bytes), None, 10, QUOTA);
        made.expect("asked")
    }

    fn made(&self, client: &str, name: &str) -> JobRow {
        assert_eq!(self.job(client, name, 100), Made::New);
        self.find(client, name)
    }

    fn find<T: Owned>(&self, client: &str, name: &str) -> T {
        let found = self.database.find(client, &id(name));
        found.expect("asked").expect("there")
    }

    fn state(&self, file: i64) -> JobState {
        self.database
            .job_of_file(file)
            .expect("asked")
            .expect("there")
            .state
    }

    /// As after the process ended at any moment.
    fn reopened(self) -> Self {
        let Self { database, folder } = self;
        drop(database);
        let database = Database::open(&folder.path().join("db")).expect("opens again");
        Self { database, folder }
    }
}

#[test]
fn names_belong_to_clients_and_say_one_thing() {
    let fixture = fixture();
    let first = fixture.made("a", "job");
    assert_eq!(
        (first.images, first.bytes, first.state),
        (7, 100, JobState::Uploading)
    );
    assert_eq!(fixture.job("a", "job", 100), Made::Same);
    assert_eq!(fixture.find::<JobRow>("a", "job").file, first.file);
    assert!(matches!(fixture.job("a", "job", 101), Made::Differs));
    // Another client's job of the same name is another job.
    let other = fixture.made("b", "job");
    assert_ne!(other.file, first.file);
    assert!(
        fixture
            .database
            .find::<JobRow>("c", &id("job"))
            .expect("asked")
            .is_none()
    );
    // A key of the same name is no job.
    assert!(
        fixture
            .database
            .find::<KeyRow>("a", &id("job"))
            .expect("asked")
            .is_none()
    );
}

#[test]
fn quotas_count_what_is_there() {
    let fixture = fixture();
    let first = fixture.made("a", "1");
    let _second = fixture.made("a", "2");
    assert!(matches!(
        fixture.job("a", "3", 100),
        Made::OverQuota(OverQuota {
            what: "jobs that are not over",
            found: 3,
            limit: 2
        })
    ));
    // Another client has its own.
    let _other = fixture.made("b", "1");
    fixture.database.cancel_job(first.file).expect("cancelled");
    assert!(matches!(
        fixture.job("a", "3", 981),
        Made::OverQuota(OverQuota {
            what: "bytes stored",
            found: 1101,
            limit: 1000
        })
    ));
    assert!(matches!(fixture.job("a", "3", 880), Made::New));
    let usage = fixture.database.usage("a").expect("asked");
    assert_eq!((usage.stored_bytes, usage.open_jobs), (1000, 2));
    assert_eq!(fixture.database.stored_bytes().expect("asked"), 1110);
}

#[test]
fn chunks_stay_and_never_change() {
    let fixture = fixture();
    let file = fixture.made("a", "job").file;
    let chunk = |number, byte| ChunkRow {
        number,
        sha256: [byte; 32],
    };
    for number in [2, 0] {
        assert!(
            fixture
                .database
                .add_chunk(file, &chunk(number, 1))
                .expect("asked")
        );
    }
    let fixture = fixture.reopened();
    let database = &fixture.database;
    assert_eq!(
        database.chunks(file).expect("asked"),
        [chunk(0, 1), chunk(2, 1)]
    );
    assert!(
        database.add_chunk(file, &chunk(2, 1)).expect("asked"),
        "the same again"
    );
    assert!(
        !database.add_chunk(file, &chunk(2, 9)).expect("asked"),
        "another"
    );
    assert_eq!(database.chunk(file, 2).expect("asked"), Some([1; 32]));
    assert!(database.start_job(file).expect("asked"));
    assert!(
        !database.add_chunk(file, &chunk(1, 1)).expect("asked"),
        "too late"
    );
    assert!(
        !database.add_chunk(file + 1, &chunk(1, 1)).expect("asked"),
        "no such file"
    );
}

#[test]
fn a_job_is_started_once_and_ends_once() {
    let fixture = fixture();
    let file = fixture.made("a", "job").file;
    let database = &fixture.database;
    assert!(!database.begin_job(file).expect("asked"), "not started");
    assert!(database.start_job(file).expect("asked"));
    assert!(!database.start_job(file).expect("asked"));
    let waiting = database.waiting_jobs().expect("asked");
    assert_eq!(
        waiting,
        [WaitingJob {
            file,
            client: "a".to_owned(),
            attempts: 0,
        }]
    );
    // Begun, and the server ends: it waits again, and is counted.
    assert!(database.begin_job(file).expect("asked"));
    let fixture = fixture.reopened();
    let database = &fixture.database;
    assert_eq!(fixture.state(file), JobState::Running);
    let attempts = || database.waiting_jobs().expect("asked")[0].attempts;
    assert_eq!(attempts(), 1);
    assert!(database.begin_job(file).expect("asked"));
    assert_eq!(attempts(), 2);
    // Stopped in order does not count.
    assert!(database.end_job(file, &Fate::Again).expect("asked"));
    assert_eq!(attempts(), 1);
    assert!(database.begin_job(file).expect("asked"));
    let done = Fate::Done {
        bytes: 9,
        digest: digest("reply"),
    };
    assert!(database.end_job(file, &done).expect("asked"));
    assert!(!database.end_job(file, &done).expect("asked"), "once");
    assert_eq!(
        database.cancel_job(file).expect("asked"),
        Some(JobState::Done)
    );
    let row = database.job_of_file(file).expect("asked").expect("there");
    assert_eq!(row.state, JobState::Done);
    assert_eq!(row.reply, Some((9, digest("reply").to_string())));
    assert_eq!(database.usage("a").expect("asked").stored_bytes, 9);
    assert_eq!(database.files().expect("asked"), [(file, 100, false)]);
}

#[test]
fn what_was_cancelled_stays_cancelled() {
    let fixture = fixture();
    let file = fixture.made("a", "job").file;
    let database = &fixture.database;
    database.start_job(file).expect("asked");
    database.begin_job(file).expect("asked");
    assert_eq!(
        database.cancel_job(file).expect("asked"),
        Some(JobState::Running)
    );
    let problem = Problem::new(ProblemKind::Internal, "x");
    assert!(
        !database
            .end_job(file, &Fate::Failed(problem))
            .expect("asked")
    );
    assert_eq!(fixture.state(file), JobState::Cancelled);
    assert!(!database.begin_job(file).expect("asked"));
    database.remove_file(file).expect("removed");
    assert_eq!(database.cancel_job(file).expect("asked"), None);
    // The number is not used again: blobs of the one cannot become those of the other.
    assert!(fixture.made("a", "job").file > file);
}

#[test]
fn what_is_used_does_not_expire() {
    let fixture = fixture();
    let database = &fixture.database;
    let new = NewKey {
        parameters: digest("parameters"),
        bytes: 5,
        job: None,
    };
    let made = database.make_key("a", &id("key"), &new, QUOTA);
    assert_eq!(made.expect("asked"), Made::New);
    let key = fixture.find::<KeyRow>("a", "key").file;
    database.complete_key(key, "id").expect("completed");
    let new = NewJob {
        key: Some(id("key")),
        ..new_job(1)
    };
    let made = database.make_job("a", &id("job"), &new, Some(key), 1, QUOTA);
    assert_eq!(made.expect("asked"), Made::New);
    let job = fixture.find::<JobRow>("a", "job");
    database.start_job(job.file).expect("started");
    assert_eq!(database.expired(0).expect("asked"), Vec::<i64>::new());
    assert!(!database.remove_key(key).expect("asked"), "in use");
    database.cancel_job(job.file).expect("cancelled");
    assert_eq!(database.expired(3600).expect("asked"), Vec::<i64>::new());
    let mut expired = database.expired(0).expect("asked");
    expired.sort_unstable();
    assert_eq!(expired, [key, job.file]);
    assert!(database.remove_key(key).expect("asked"));
    assert!(
        database
            .list::<KeyRow>("a", None, 9)
            .expect("asked")
            .is_empty()
    );
}

#[test]
fn a_job_takes_the_key_along_that_was_for_it_alone() {
    let fixture = fixture();
    let database = &fixture.database;
    let key = |client: &str, name: &str, job: Option<&str>| {
        let new = NewKey {
            parameters: digest("parameters"),
            bytes: 5,
            job: job.map(id),
        };
        let made = database.make_key(client, &id(name), &new, QUOTA);
        assert_eq!(made.expect("asked"), Made::New);
        fixture.find::<KeyRow>(client, name).file
    };
    let own = key("a", "own", Some("first"));
    let shared = key("a", "shared", None);
    let other = key("a", "other", Some("second"));
    let foreign = key("b", "own", Some("first"));
    for (name, uses) in [("first", own), ("second", own)] {
        database.complete_key(uses, "id").expect("completed");
        let new = NewJob {
            key: Some(id("own")),
            ..new_job(1)
        };
        let made = database.make_job("a", &id(name), &new, Some(uses), 1, QUOTA);
        assert_eq!(made.expect("asked"), Made::New);
    }
    let [first, second] = ["first", "second"].map(|name| fixture.find::<JobRow>("a", name).file);
    // The other job still needs it.
    assert_eq!(database.remove_file(first).expect("removed"), [first]);
    database.cancel_job(second).expect("cancelled");
    let again = fixture.made("a", "first").file;
    let mut gone = database.remove_file(again).expect("removed");
    gone.sort_unstable();
    assert_eq!(gone, [own, again]);
    for kept in [shared, other, foreign] {
        assert!(database.file_bytes(kept).expect("asked").is_some());
    }
}

#[test]
fn a_lost_chunk_is_taken_again() {
    let fixture = fixture();
    let file = fixture.made("a", "job").file;
    let database = &fixture.database;
    let chunk = ChunkRow {
        number: 0,
        sha256: [1; 32],
    };
    assert!(database.add_chunk(file, &chunk).expect("asked"));
    database.start_job(file).expect("started");
    assert_eq!(database.forget_lost(file, &[0]).expect("forgotten"), [file]);
    assert_eq!(fixture.state(file), JobState::Uploading);
    assert!(database.waiting_jobs().expect("asked").is_empty());
    assert!(database.add_chunk(file, &chunk).expect("asked"));
    assert!(database.start_job(file).expect("asked"));
}

#[test]
fn a_database_of_a_later_version_is_refused() {
    let fixture = fixture();
    let path = fixture.folder.path().join("db");
    let connection = Connection::open(&path).expect("opens");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("written");
    assert!(Database::open(&path).is_err());
}

#[test]
fn what_is_lost_of_a_key_stops_the_jobs_that_use_it() {
    let fixture = fixture();
    let database = &fixture.database;
    let new = NewKey {
        parameters: digest("parameters"),
        bytes: 10,
        job: None,
    };
    let made = database.make_key("a", &id("key"), &new, QUOTA);
    assert_eq!(made.expect("asked"), Made::New);
    let key: KeyRow = fixture.find("a", "key");
    let chunk = ChunkRow {
        number: 0,
        sha256: [1; 32],
    };
    assert!(database.add_chunk(key.file, &chunk).expect("asked"));
    database.complete_key(key.file, "id").expect("completed");
    let mut new = new_job(100);
    new.key = Some(id("key"));
    let made = database.make_job("a", &id("job"), &new, Some(key.file), 10, QUOTA);
    assert_eq!(made.expect("asked"), Made::New);
    let job: JobRow = fixture.find("a", "job");
    database.start_job(job.file).expect("started");
    assert!(database.begin_job(job.file).expect("asked"));
    let stopped = database.forget_lost(key.file, &[0]).expect("forgotten");
    assert_eq!(stopped, [job.file]);
    assert_eq!(fixture.state(job.file), JobState::Uploading);
    assert_eq!(fixture.find::<KeyRow>("a", "key").key_id, None);
    assert!(database.chunks(key.file).expect("asked").is_empty());
}

#[test]
fn lists_come_in_pages_with_their_chunks() {
    let fixture = fixture();
    let database = &fixture.database;
    let quota = Quota {
        open_jobs: 10,
        ..QUOTA
    };
    for name in ["one", "two", "three"] {
        let made = database.make_job("a", &id(name), &new_job(9), None, 1, quota);
        assert_eq!(made.expect("asked"), Made::New);
    }
    fixture.made("b", "other");
    let two = fixture.find::<JobRow>("a", "two").file;
    for number in [2, 10, 1] {
        let chunk = ChunkRow {
            number,
            sha256: [1; 32],
        };
        assert!(database.add_chunk(two, &chunk).expect("asked"));
    }
    let list = |before, limit| {
        let rows = database.list::<JobRow>("a", before, limit).expect("asked");
        let rows = rows
            .into_iter()
            .map(|(row, chunks)| (row.name.to_string(), chunks));
        rows.collect::<Vec<_>>()
    };
    let names = [("three", vec![]), ("two", vec![1, 2, 10]), ("one", vec![])];
    let names = names.map(|(name, chunks)| (name.to_owned(), chunks));
    assert_eq!(list(None, 9), names);
    assert_eq!(list(None, 2), names[..2]);
    assert_eq!(list(Some(two), 2), names[2..]);
}

#[test]
fn a_name_given_again_finds_nothing_of_the_one_before() {
    let fixture = fixture();
    let database = &fixture.database;
    let client = |name: &str, token: &str| ClientConfig::named(name, TokenHash::of(token));
    let jobs = |name: &str| database.list::<JobRow>(name, None, 9).expect("asked").len();
    for name in ["a", "b", "c"] {
        fixture.made(name, "job");
    }
    // A state folder of version 1 has no tokens: what is there belongs to those who have the names now.
    let now = [client("a", "1"), client("b", "2")];
    assert_eq!(database.admit(&now).expect("asked"), ["c"]);
    assert_eq!(database.admit(&now).expect("asked"), [""; 0]);
    let mut renewed = client("a", "3");
    renewed.replaces = Some(TokenHash::of("1"));
    let now = [renewed.clone(), client("b", "4")];
    assert_eq!(database.admit(&now).expect("asked"), ["b"]);
    assert_eq!([jobs("a"), jobs("b"), jobs("c")], [1, 0, 0]);
    // The entry may keep its line for good.
    assert_eq!(database.admit(&now).expect("asked"), [""; 0]);
    fixture.made("b", "other");
    // Gone, somebody else, and back: each finds its own.
    assert_eq!(database.admit(&[renewed]).expect("asked"), ["b"]);
    assert_eq!(database.admit(&[client("b", "2")]).expect("asked"), ["a"]);
    assert_eq!([jobs("a"), jobs("b")], [0, 1]);
    fixture.find::<JobRow>("b", "job");
    assert_eq!(database.admit(&[client("b", "4")]).expect("asked"), ["b"]);
    fixture.find::<JobRow>("b", "other");
}
