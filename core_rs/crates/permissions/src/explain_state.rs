//! What each stateful rule comes to, for people: asked at the desk of `settle`, which here goes on after a refusal.
//!
//! What it comes to in all is said by `settle` itself; a list that said something else would be a fault, and a test holds the two together.
use crate::area_terms::AreaTerms;
use crate::decision::{Choice, Decision, Needs, Reason};
use crate::documents::AntiPassback;
use crate::identifier::Identifier;
use crate::model::State;
use crate::settle::{Asking, Desk, Refused, WRONG_PINS_MAX, WRONG_PINS_MS, pin_key};
use crate::states::{Moved, Records, keys_of, pass_key};
use serde::Serialize;
use std::collections::BTreeSet;

const HOLDS: &str = "holds";
const UNKNOWN: &str = "unknown";

/// One rule that memory alone can't answer.
#[derive(Debug, Serialize)]
pub struct StatefulRule {
    /// `first_person_in`, `card_and_pin`, `leaves`, `anti_passback`, `occupancy`, `uses` or `two_persons`.
    pub rule: &'static str,
    /// The area, the grant or the door that has the rule.
    pub of: String,
    /// `holds` when it refuses nobody, the reason when it does, `unknown` when nobody can say.
    pub verdict: &'static str,
    /// What was found, in words and identifiers.
    pub detail: String,
}

/// The rules by name only: what is in the store at another moment nobody knows.
pub fn unknown_rules(door: &str, needs: &Needs) -> Vec<StatefulRule> {
    let mut told = Vec::new();
    let mut tell = |rule, of: &str, detail: &str| {
        told.push(StatefulRule {
            rule,
            of: of.to_owned(),
            verdict: UNKNOWN,
            detail: detail.to_owned(),
        });
    };
    if needs.first_person_day.is_some() {
        tell(FIRST_PERSON_IN, door, "who has come by then on that day");
    }
    if needs.pin {
        tell(CARD_AND_PIN, door, "the PIN, and how often it was wrong");
    }
    if let Some(area) = &needs.leaves {
        tell(LEAVES, area.as_str(), "whether this person is inside then");
    }
    if let Some((area, terms)) = &needs.enters {
        if terms.anti_passback != AntiPassback::Off {
            tell(ANTI_PASSBACK, area.as_str(), "who is inside then");
        }
        if terms.occupancy_max.is_some() {
            tell(OCCUPANCY, area.as_str(), "how many are inside then");
        }
    }
    for choice in &needs.choices {
        tell(USES, choice.rule.as_str(), "how many uses are left then");
    }
    if needs.two_persons_seconds.is_some() {
        tell(TWO_PERSONS, door, "who asks just before");
    }
    told
}

const FIRST_PERSON_IN: &str = "first_person_in";
const CARD_AND_PIN: &str = "card_and_pin";
const LEAVES: &str = "leaves";
const ANTI_PASSBACK: &str = "anti_passback";
const OCCUPANCY: &str = "occupancy";
const USES: &str = "uses";
const TWO_PERSONS: &str = "two_persons";

/// The rules with what they come to by these records, in the order in which they are asked; or the keys of records that are missing.
///
/// # Errors
/// Keys to read.
pub fn rules_now(
    state: &State,
    asking: Asking<'_>,
    decision: &Decision,
    needs: &Needs,
    records: &Records,
) -> Result<Vec<StatefulRule>, BTreeSet<String>> {
    let mut teller = Teller {
        state,
        asking,
        needs,
        desk: Desk::new(state, decision.revision, asking.now_ms, records),
        told: Vec::new(),
    };
    teller.tell_all(decision);
    if teller.desk.ledger.missing.is_empty() {
        Ok(teller.told)
    } else {
        Err(teller.desk.ledger.missing)
    }
}

struct Teller<'a> {
    state: &'a State,
    asking: Asking<'a>,
    needs: &'a Needs,
    desk: Desk<'a>,
    told: Vec<StatefulRule>,
}

impl Teller<'_> {
    fn tell_all(&mut self, decision: &Decision) {
        let (asking, needs) = (self.asking, self.needs);
        let open_for_all = self.desk.is_open_for_all(asking.door, needs);
        if needs.first_person_day.is_some() {
            self.tell_first_person(decision, open_for_all);
        }
        if !decision.is_allowed() && !open_for_all {
            return; // the check's own refusal stands, and nothing else is asked
        }
        self.desk.has_all(asking, needs, open_for_all);
        if needs.pin {
            self.tell_pin();
        }
        if let Some(area) = &needs.leaves {
            let mut moved = Moved::default();
            self.desk.leave(area, asking.person, &mut moved);
            let detail = moved.left_inside_since.map_or_else(
                || "is outside already".to_owned(),
                |since| format!("is inside since {}, and outside then", self.moment(since)),
            );
            self.tell(LEAVES, area.as_str(), HOLDS, detail);
        }
        if let Some((area, terms)) = &needs.enters {
            self.tell_area(area, *terms);
        }
        if open_for_all {
            return;
        }
        for choice in &needs.choices {
            self.tell_uses(choice);
        }
        if let Some(seconds) = needs.two_persons_seconds {
            self.tell_two_persons(seconds);
        }
    }

    fn tell(&mut self, rule: &'static str, of: &str, verdict: &'static str, detail: String) {
        self.told.push(StatefulRule {
            rule,
            of: of.to_owned(),
            verdict,
            detail,
        });
    }

    /// The wall clock of the door's site.
    fn moment(&self, at_ms: i64) -> String {
        let door = self.state.doors.get(self.asking.door);
        let site = door.and_then(|door| self.state.site_of(door));
        let zone = site.and_then(|site| site.zone.as_ref());
        zone.map_or_else(|| format!("{at_ms} ms"), |zone| zone.local_time(at_ms))
    }

    fn tell_first_person(&mut self, decision: &Decision, open_for_all: bool) {
        let (verdict, detail) = if open_for_all {
            (
                HOLDS,
                "somebody with a grant has come today: the door is open for everybody, no use is counted and no second person asked",
            )
        } else if decision.is_allowed() {
            (
                HOLDS,
                "nobody with a grant has come today: this person would open the door for everybody",
            )
        } else {
            (
                decision.reason.as_str(),
                "nobody with a grant has come today",
            )
        };
        self.tell(FIRST_PERSON_IN, self.asking.door, verdict, detail.into());
    }

    fn tell_pin(&mut self) {
        let since = self
            .desk
            .ledger
            .read(&pin_key(self.asking.person))
            .wrong_since;
        let heard = self.desk.hear_pin(self.asking);
        let detail = match (&heard, since) {
            (Err((Reason::RateLimited, _)), Some(since)) => format!(
                "{WRONG_PINS_MAX} wrong ones since {}: nobody is heard until {}",
                self.moment(since),
                self.moment(since.saturating_add(WRONG_PINS_MS))
            ),
            (Err((Reason::PinNeeded, _)), _) => "no PIN was given".into(),
            (Err(_), _) => "the PIN is wrong".into(),
            (Ok(()), _) => "with the right PIN, as is supposed here".into(),
        };
        self.tell(CARD_AND_PIN, self.asking.door, verdict_of(&heard), detail);
    }

    fn tell_area(&mut self, area: &Identifier, terms: AreaTerms) {
        let (area_key, inside_key) = keys_of(area, self.asking.person);
        let record = self.desk.ledger.read(&area_key);
        let since = self.desk.ledger.inside_since(&record, &inside_key);
        let mut moved = Moved::default();
        let entered = self.desk.enter(area, terms, self.asking.person, &mut moved);
        let verdict = verdict_of(&entered);
        if terms.anti_passback != AntiPassback::Off {
            let detail = self.passback_detail(terms, since);
            let verdict = if since.is_some() { verdict } else { HOLDS };
            self.tell(ANTI_PASSBACK, area.as_str(), verdict, detail);
        }
        if let Some(limit) = terms.occupancy_max {
            let (verdict, takes) = if since.is_some() {
                (HOLDS, ", this person among them")
            } else {
                (verdict, "")
            };
            let detail = format!("{} inside{takes}, at most {limit}", record.count);
            self.tell(OCCUPANCY, area.as_str(), verdict, detail);
        }
    }

    fn passback_detail(&self, terms: AreaTerms, since: Option<i64>) -> String {
        let minutes = terms.anti_passback_minutes;
        let kind = match terms.anti_passback {
            AntiPassback::Off => "off".to_owned(),
            AntiPassback::Soft => "soft (let in, and told)".to_owned(),
            AntiPassback::Hard => "hard".to_owned(),
            AntiPassback::Timed if minutes == u32::MAX => "timed, without an end".to_owned(),
            AntiPassback::Timed => format!("timed, for {minutes} minutes"),
        };
        since.map_or_else(
            || format!("{kind}: is outside"),
            |since| format!("{kind}: is inside since {}", self.moment(since)),
        )
    }

    fn tell_uses(&mut self, choice: &Choice) {
        let counts = choice.counts.iter().map(|(pass, uses)| {
            let used = self.desk.ledger.read(&pass_key(pass)).used;
            format!("{used} of {uses} uses of {} are gone", pass.as_str())
        });
        let detail = counts.collect::<Vec<_>>().join(", ");
        let verdict = if self.desk.has_uses(choice) {
            HOLDS
        } else {
            Reason::PassUsedUp.as_str()
        };
        self.tell(USES, choice.rule.as_str(), verdict, detail);
    }

    fn tell_two_persons(&mut self, seconds: u32) {
        let own = self
            .desk
            .decide_own(self.asking.person, self.asking.door)
            .is_allowed();
        let waits = self.desk.who_waits(self.asking, self.needs);
        let heard = self.desk.hear_two(
            self.asking,
            self.needs,
            &mut crate::states::Taken::default(),
        );
        let come = heard.is_ok();
        let detail = match (waits, come) {
            _ if !own => "this person opens by passes alone, and no pass counts where two persons have to come".into(),
            (None, _) => format!("nobody else has asked within {seconds} s by a token that stands"),
            (Some((first, at_ms)), true) => {
                format!(
                    "{} asked at {}, and both come in",
                    first.as_str(),
                    self.moment(at_ms)
                )
            }
            (Some((first, at_ms)), false) => format!(
                "{} asked at {}, and the two can't come in together",
                first.as_str(),
                self.moment(at_ms)
            ),
        };
        let verdict = match heard {
            Ok(_) => HOLDS,
            Err((Reason::OccupancyFull, _)) => Reason::OccupancyFull.as_str(),
            Err(_) => Reason::SecondPersonNeeded.as_str(),
        };
        self.tell(TWO_PERSONS, self.asking.door, verdict, detail);
    }
}

fn verdict_of<T>(outcome: &Result<T, Refused>) -> &'static str {
    match outcome {
        Ok(_) => HOLDS,
        Err((reason, _)) => reason.as_str(),
    }
}
