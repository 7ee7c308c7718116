//! A client that means harm, and the judgement of what it is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::hostile::Victim;
use crate::random::Random;
use crate::server::Server;
use crate::wire::{Answer, Connection, Failure, PATIENCE, Request};

/// How long an answer to something incomplete is waited for.
const SHORT: Duration = Duration::from_millis(40);

/// What may come back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// The HTTP is good: there is an answer, and if it is an error, then a problem document.
    Answer,
    /// A problem document of one of these statuses.
    Refusal(&'static [u16]),
    /// The HTTP is broken or may be: refused below the application, or the connection is closed; never a success of what was not asked.
    Broken,
}

/// A client with a token of its own.
pub(super) struct Attacker<'a> {
    pub(super) name: String,
    address: String,
    pub(super) token: String,
    connection: Option<Connection>,
    pub(super) random: Random,
    pub(super) victim: &'a Victim,
    /// How often each attack was answered with each status; 0 is a closed connection.
    pub(super) tally: BTreeMap<(&'static str, u16), usize>,
}

impl<'a> Attacker<'a> {
    pub(super) fn new(server: &Server, name: &str, victim: &'a Victim, random: Random) -> Self {
        Self {
            name: name.to_owned(),
            address: server.address.clone(),
            token: server.client(name).token.clone(),
            connection: None,
            random,
            victim,
            tally: BTreeMap::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.tally.values().sum()
    }

    /// A request with the attacker's own token.
    pub(super) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target).token(&self.token)
    }

    /// Sends a well-formed request, on a connection that is kept, and judges the answer.
    pub(super) fn attack(
        &mut self,
        what: &'static str,
        request: &Request,
        expect: Expect,
    ) -> Answer {
        let bytes = request.bytes();
        // A server may close a connection after an answer: then once more.
        for _ in 0..3 {
            let mut connection = self.connected();
            connection.send(&bytes);
            let answer = connection.answer(&request.method, PATIENCE);
            if connection.usable {
                self.connection = Some(connection);
            }
            match answer {
                Ok(answer) => {
                    self.judge(what, &bytes, &answer, request.method == "HEAD", expect);
                    return answer;
                }
                Err(Failure::Closed) => {}
                Err(failure) => self.fail(what, &bytes, &format!("{failure:?}")),
            }
        }
        self.fail(what, &bytes, "closed three times without an answer")
    }

    /// Sends bytes on a connection of their own and judges everything that comes back; then ends the connection, which the server must do
    /// too.
    pub(super) fn attack_bytes(&mut self, what: &'static str, bytes: &[u8]) {
        let mut connection = self.open();
        connection.send(bytes);
        let head = bytes.starts_with(b"HEAD");
        let (mut answers, mut ended) = (0, false);
        loop {
            // What is incomplete is waited for; but not for long here.
            let patience = if ended { PATIENCE } else { SHORT };
            match connection.answer(if head { "HEAD" } else { "GET" }, patience) {
                Ok(answer) => {
                    self.judge(what, bytes, &answer, head, Expect::Broken);
                    answers += 1;
                }
                Err(Failure::Late) if !ended => {}
                Err(Failure::Closed) => {
                    if answers == 0 {
                        *self.tally.entry((what, 0)).or_default() += 1;
                    }
                    return;
                }
                // A reset while the rest of the answer was on its way, for bytes that nobody read.
                Err(Failure::Cut) => return,
                // What looks like HEAD to the server and not to the test has no body.
                Err(Failure::Nonsense(_)) if head => return,
                Err(failure) => self.fail(what, bytes, &format!("{failure:?}")),
            }
            connection.end();
            ended = true;
        }
    }

    /// Asks without counting it as an attack.
    pub(super) fn ask(&mut self, request: &Request) -> Answer {
        let before = self.tally.clone();
        let answer = self.attack("asked", request, Expect::Answer);
        self.tally = before;
        answer
    }

    fn connected(&mut self) -> Connection {
        match self.connection.take() {
            Some(connection) => connection,
            None => self.open(),
        }
    }

    /// A connection; the server may be slow to take them when there are many.
    pub(super) fn open(&self) -> Connection {
        for _ in 0..200 {
            if let Ok(connection) = Connection::open(&self.address) {
                return connection;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{}: the server takes no connections", self.name);
    }

    fn judge(
        &mut self,
        what: &'static str,
        sent: &[u8],
        answer: &Answer,
        head: bool,
        expect: Expect,
    ) {
        *self.tally.entry((what, answer.status)).or_default() += 1;
        let put_off = answer.status == 503 && answer.header("retry-after").is_some();
        if answer.status >= 500 && !put_off {
            self.fail(what, sent, &format!("the server's fault: {answer:?}"));
        }
        let refused = answer.status >= 400;
        let problem = if head { Ok(()) } else { answer.check_problem() };
        let fault = match expect {
            _ if put_off => problem.err(),
            Expect::Refusal(statuses) if !statuses.contains(&answer.status) => {
                Some(format!("expected {statuses:?}"))
            }
            Expect::Answer | Expect::Refusal(_) if refused => problem.err(),
            // Below the application there is a status and nothing else.
            Expect::Broken if refused && !answer.body.is_empty() => problem.err(),
            _ => None,
        };
        if let Some(fault) = fault {
            self.fail(what, sent, &format!("{fault}: {answer:?}"));
        }
        for marker in &self.victim.markers {
            let holds = |bytes: &[u8]| bytes.windows(marker.len()).any(|window| window == marker);
            // What the attacker said itself may be repeated.
            if holds(&answer.raw) && !holds(sent) {
                let marker = String::from_utf8_lossy(marker).into_owned();
                self.fail(
                    what,
                    sent,
                    &format!("{marker:?} of the victim in {answer:?}"),
                );
            }
        }
    }

    pub(super) fn fail(&self, what: &str, sent: &[u8], fault: &str) -> ! {
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(1500)]);
        panic!("{}: {what}: {fault}\nto {shown:?}", self.name);
    }
}
