//! Derives the name of an attempt's machine. It is the same for each launch of the attempt, which prevents a second
//! machine.

use sha2::{Digest, Sha256};

use domain::task::TaskId;

/// The longest part of the name that is taken from the task id, between `porter-` and the longest attempt number, in
/// a name of at most 63 characters.
const MAX_NAME_CHARS: usize = 40;

/// Returns a name of at most 63 characters from `[a-z0-9-]` that is unique for the attempt. This is a DNS label,
/// which is valid for Fly's machine names and for the local runner's folders.
pub(super) fn machine_name(task: &TaskId, attempt: u32) -> String {
    let id = task.as_str().trim_start_matches("task_");
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.len() <= MAX_NAME_CHARS && id.chars().all(plain) {
        return format!("porter-{id}-{attempt}");
    }
    // One character longer than any id that is used unchanged, so the two forms cannot collide.
    let digest = hex::encode(Sha256::digest(task.as_str()));
    format!("porter-x{}-{attempt}", &digest[..MAX_NAME_CHARS])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(task: &str, attempt: u32) -> String {
        machine_name(&TaskId::parse(task).expect("a task id"), attempt)
    }

    #[test]
    fn a_typical_task_id_is_part_of_the_name() {
        assert_eq!(
            name("task_0191e0a4c2b37d10a9f1d2c3b4a59687", 2),
            "porter-0191e0a4c2b37d10a9f1d2c3b4a59687-2"
        );
    }

    #[test]
    fn ids_that_differ_only_in_case_or_punctuation_have_different_names() {
        let names = [name("task_ab", 1), name("task_AB", 1), name("task_a_b", 1), name("task_a-b", 1)];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }

    proptest! {
        #[test]
        fn every_name_is_a_dns_label(id in "[0-9A-Za-z_-]{1,64}", attempt: u32) {
            let name = name(&format!("task_{id}"), attempt);
            prop_assert!(name.len() <= 63, "{name}");
            prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
            prop_assert!(!name.ends_with('-'), "{name}");
        }

        #[test]
        fn different_attempts_have_different_names(
            ids in ("[0-9A-Za-z_-]{1,64}", "[0-9A-Za-z_-]{1,64}"), attempts: (u32, u32)
        ) {
            let same = ids.0 == ids.1 && attempts.0 == attempts.1;
            let names = (name(&format!("task_{}", ids.0), attempts.0), name(&format!("task_{}", ids.1), attempts.1));
            prop_assert_eq!(same, names.0 == names.1);
        }
    }
}
