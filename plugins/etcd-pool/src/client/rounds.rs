/*!
Asking the endpoints until one answers.

A round asks the endpoints one after another: the next one as soon as one has failed, or beside it when it
has not answered for a while. Everything that is asked identifies itself, so that a second copy does no
harm; the first answer counts, but one that says "done" is preferred. Between rounds there are pauses, and
each round waits longer for an answer, since an answer may be large.
*/

use std::future::poll_fn;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::task::Poll;
use std::time::{Duration, Instant};

use etcd_client::Client;
use tokio::time::{sleep, timeout};

use super::endpoint::{Attempt, Call, Endpoint, Outcome};
use super::errors::{EtcdError, Fault, Phase, together};

/// How long one call may take, in the first round, unless another time is given.
pub(super) const CALL: Duration = Duration::from_secs(1);
/// How long one may take in the end.
const LONGEST: Duration = Duration::from_secs(60);
/// After how long without an answer the next endpoint is asked, too.
const HEDGE: Duration = Duration::from_millis(150);
/// For how long other copies are waited for that are on their way when there is an answer: mostly it comes
/// at once, and then there is no doubt about them.
const GRACE: Duration = Duration::from_millis(30);
/// The first pause between rounds, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// What is asked, and until when.
pub(super) struct Question<'a, T> {
    pub(super) call: &'a dyn Fn(Client) -> Call<T>,
    /// Whether an answer is worth more than another one.
    pub(super) good: fn(&T) -> bool,
    pub(super) deadline: Instant,
    /// How long an answer is waited for in the first round.
    pub(super) patience: Duration,
}

/// What the endpoints have come to so far.
pub(super) struct Asking<'a> {
    pub(super) endpoints: &'a mut [Endpoint],
    pub(super) preferred: &'a mut usize,
    /// Whether some copy may be carried out that nobody waits for any more.
    pub(super) at_large: &'a mut bool,
    faults: Vec<Option<Fault>>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        endpoints: &'a mut [Endpoint],
        preferred: &'a mut usize,
        at_large: &'a mut bool,
    ) -> Self {
        *at_large = false;
        let faults = vec![None; endpoints.len()];
        Self { endpoints, preferred, at_large, faults }
    }

    /// Asks until there is an answer, a refusal, or no time any more.
    pub(super) async fn ask<T>(mut self, question: &Question<'_, T>) -> Result<T, EtcdError> {
        let (mut pause, mut patience) = (PAUSES.0, question.patience);
        loop {
            if let Some(answer) = self.round(question, patience).await {
                return Ok(answer);
            }
            let told = |f: &Option<Fault>, rule: fn(&Fault) -> bool| f.as_ref().is_some_and(rule);
            let over = self.faults.iter().any(|f| told(f, |f| f.final_word))
                || !self.faults.iter().any(|f| told(f, |f| f.retry));
            let wait = jittered(pause);
            if over || Instant::now() + wait >= question.deadline {
                return Err(self.failure());
            }
            sleep(wait).await;
            pause = (pause * 2).min(PAUSES.1);
            patience = (patience * 2).min(LONGEST);
        }
    }

    fn failure(self) -> EtcdError {
        let urls = self.endpoints.iter().map(|e| e.url.to_string());
        let faults: Vec<(String, Fault)> =
            urls.zip(self.faults).filter_map(|(url, fault)| Some((url, fault?))).collect();
        together(&faults, *self.at_large)
    }

    /// The preferred endpoint first, then the others in their order, those that failed lately last.
    fn order(&self) -> Vec<usize> {
        let count = self.endpoints.len();
        let mut order: Vec<usize> = (0..count).map(|n| (*self.preferred + n) % count).collect();
        order
            .sort_by_key(|position| self.endpoints.get(*position).is_some_and(Endpoint::is_marked));
        order
    }

    /// Asks each endpoint once at most.
    async fn round<T>(&mut self, question: &Question<'_, T>, patience: Duration) -> Option<T> {
        let mut waiting = self.order().into_iter();
        let mut flying: Vec<Attempt<'_, T>> = Vec::new();
        let mut best: Option<(usize, T)> = None;
        let mut over = false;
        // When the next endpoint is asked beside the others, or what there is is taken.
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= question.deadline {
                break;
            }
            if now >= next {
                if best.is_some() || over {
                    break;
                }
                if let Some(position) = waiting.next()
                    && let Some(endpoint) = self.endpoints.get(position)
                {
                    let left = question.deadline.saturating_duration_since(now);
                    let patience = patience.min(left);
                    flying.push(endpoint.attempt(position, question.call, true, patience));
                    next = now + HEDGE;
                } else if flying.is_empty() {
                    break;
                } else {
                    next = question.deadline;
                }
            }
            let until = next.min(question.deadline);
            let wait = until.saturating_duration_since(Instant::now());
            let Ok((attempt, (wire, result))) = timeout(wait, landed(&mut flying)).await else {
                continue;
            };
            let position = attempt.position;
            if let Some(endpoint) = self.endpoints.get_mut(position) {
                let good = result.as_ref().map_or_else(|fault| fault.final_word, |_| true);
                endpoint.settle(wire, good);
            }
            match result {
                Ok(answer) => {
                    self.note(position, None);
                    let good = (question.good)(&answer);
                    let had_good = best.as_ref().is_some_and(|(_, a)| (question.good)(a));
                    if best.is_none() || (good && !had_good) {
                        best = Some((position, answer));
                    }
                    if !flying.iter().any(|other| other.sent.get()) {
                        break;
                    }
                    next = Instant::now() + if good || had_good { GRACE } else { HEDGE };
                }
                Err(fault) => {
                    *self.at_large |= fault.doubt;
                    over |= fault.final_word;
                    self.note(position, Some(fault));
                    let alone = !flying.iter().any(|other| other.sent.get());
                    if (over || best.is_some()) && alone {
                        break;
                    }
                    if over {
                        next = Instant::now() + GRACE;
                    } else if best.is_none() {
                        next = Instant::now();
                    }
                }
            }
        }
        // Whoever has not answered by now is not waited for.
        for attempt in flying {
            let phase = if attempt.sent.get() { Phase::Asked } else { Phase::Connecting };
            *self.at_large |= attempt.sent.get();
            if let Some(endpoint) = self.endpoints.get_mut(attempt.position) {
                endpoint.mark();
            }
            self.note(attempt.position, Some(Fault::silent(phase)));
        }
        let (position, answer) = best?;
        *self.preferred = position;
        Some(answer)
    }

    fn note(&mut self, position: usize, fault: Option<Fault>) {
        if let Some(place) = self.faults.get_mut(position) {
            *place = fault;
        }
    }
}

/// Waits for the first attempt that comes to its end, and takes it out.
pub(super) async fn landed<'a, T>(
    flying: &mut Vec<Attempt<'a, T>>,
) -> (Attempt<'a, T>, Outcome<T>) {
    poll_fn(|context| {
        let mut ready = None;
        for (place, attempt) in flying.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = attempt.future.as_mut().poll(context) {
                ready = Some((place, outcome));
                break;
            }
        }
        match ready {
            Some((place, outcome)) => Poll::Ready((flying.remove(place), outcome)),
            None => Poll::Pending,
        }
    })
    .await
}

/// Half to the whole of a pause, so that callers do not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let half = pause / 2;
    let most = u64::try_from(half.as_micros()).unwrap_or(0).max(1);
    half + Duration::from_micros(random() % most)
}

/// A number that nobody guesses: each state of the standard library's maps has its own keys.
pub(super) fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}
