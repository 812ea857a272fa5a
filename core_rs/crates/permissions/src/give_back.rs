//! What a grant took is undone, because the door stayed shut. What anybody did since stays.
use crate::decision::Reason;
use crate::settle::{Asking, Settled, done};
use crate::states::{Ledger, Moved, Record, Records, Taken, keys_of, pass_key};

/// Undoes what the grant of `asking` took, at its `now_ms`. Who asked first isn't remembered again: both ask anew.
#[must_use]
pub fn give_back(asking: Asking<'_>, taken: &Taken, records: &Records) -> Settled {
    let mut ledger = Ledger::new(records);
    for pass in &taken.passes {
        let key = pass_key(pass);
        let record = ledger.read(&key);
        let used = record.used.saturating_sub(1);
        ledger.write(key, Record { used, ..record });
    }
    undo_moves(&mut ledger, asking.person, &taken.moved);
    if let Some(first) = &taken.first_person {
        undo_moves(&mut ledger, first.as_str(), &taken.first_moved);
    }
    if taken.opened_for_all {
        close_again(&mut ledger, asking.door, taken);
    }
    if !ledger.missing.is_empty() {
        return Settled::Missing(ledger.missing);
    }
    done(Reason::Granted, None, Taken::default(), ledger.changed)
}

/// In the reverse order in which they were made; each only if it is the last that the person made there.
fn undo_moves(ledger: &mut Ledger<'_>, person: &str, moved: &Moved) {
    if let Some(area) = &moved.entered {
        let (area_key, inside_key) = keys_of(area, person);
        let (record, inside) = (ledger.read(&area_key), ledger.read(&inside_key));
        let since = ledger.inside_since(&record, &inside_key);
        if since.is_some() && since == moved.entered_at {
            let entered_at = moved.entered_inside_since;
            ledger.write(
                inside_key,
                Record {
                    entered_at,
                    ..inside
                },
            );
            if entered_at.is_none() {
                let count = record.count.saturating_sub(1);
                ledger.write(area_key, Record { count, ..record });
            }
        }
    }
    if let Some(area) = &moved.left {
        let (area_key, inside_key) = keys_of(area, person);
        let (record, inside) = (ledger.read(&area_key), ledger.read(&inside_key));
        let outside = ledger.inside_since(&record, &inside_key).is_none();
        let since = moved.left_inside_since;
        let counts_still =
            since.is_some_and(|since| record.reset_at.is_none_or(|reset_at| since > reset_at));
        if outside && counts_still && inside.left_at.is_some() && inside.left_at == moved.left_at {
            let count = record.count.saturating_add(1);
            ledger.write(area_key, Record { count, ..record });
            ledger.write(
                inside_key,
                Record {
                    entered_at: since,
                    left_at: None,
                    ..inside
                },
            );
        }
    }
}

fn close_again(ledger: &mut Ledger<'_>, door: &str, taken: &Taken) {
    let key = format!("door.{door}");
    let record = ledger.read(&key);
    // Else a lockdown came between, and others opened it again.
    if (record.opened_day, record.opened_revision) == (taken.opened_day, taken.opened_revision) {
        let openers = record.openers.saturating_sub(1);
        let record = Record {
            opened_day: taken.opened_day.filter(|_| openers > 0),
            openers,
            ..record
        };
        ledger.write(key, record);
    }
}
