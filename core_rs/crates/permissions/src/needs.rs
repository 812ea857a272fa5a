//! What a decision still needs, in words.
use crate::decision::Needs;
use std::fmt;

impl fmt::Display for Needs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.pin {
            words.push("the PIN".to_owned());
        }
        if self.first_person_day.is_some() {
            words.push("opens the door for everybody today".to_owned());
        }
        if let Some((area, terms)) = &self.enters {
            let limit = terms
                .occupancy_max
                .map_or_else(String::new, |limit| format!(", at most {limit} inside"));
            words.push(format!(
                "enters {}: anti-passback {:?}{limit}",
                area.as_str(),
                terms.anti_passback
            ));
        }
        if let Some(area) = &self.leaves {
            words.push(format!("leaves {}", area.as_str()));
        }
        for choice in &self.choices {
            let counts = choice
                .counts
                .iter()
                .map(|(pass, uses)| format!("{} of {uses} uses", pass.as_str()));
            words.push(format!("uses {}", counts.collect::<Vec<_>>().join(" and ")));
        }
        if let Some(seconds) = self.two_persons_seconds {
            words.push(format!("a second person within {seconds} s"));
        }
        formatter.write_str(&words.join("; "))
    }
}
