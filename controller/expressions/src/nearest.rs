//! Slips of the pen: which of the known names was probably meant, and how names are listed.
//!
//! In: a name and those that are known. Out: words for an error. Never here: a decision.

/// Longer names are not compared: nobody mistypes them by a letter or two, and the work grows with the square.
const COMPARED: usize = 64;

/// The known name that is nearest, if it is near: at most a third of its letters are others.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(COMPARED + 1).collect();
    if name.len() > COMPARED {
        return None;
    }
    known
        .into_iter()
        .map(|each| (distance(&name, &each.chars().collect::<Vec<_>>()), each))
        .filter(|(distance, each)| *distance <= (each.chars().count().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, each)| each)
}

/// As in "; did you mean `status`?", or nothing.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// As in "`a`, `b` and `c`".
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|each| format!("`{each}`")).collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Letters to insert, remove, replace or swap with their neighbour; capitals are no difference.
fn distance(left: &[char], right: &[char]) -> usize {
    let same = |a: char, b: char| a.eq_ignore_ascii_case(&b);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &letter) in left.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(!same(letter, other));
            let mut cheapest = replaced.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && same(letter, right[column - 1]) && same(left[row - 1], other) {
                cheapest = cheapest.min(before[column - 1] + 1);
            }
            next.push(cheapest);
        }
        before = last;
        last = next;
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_name() {
        let known = ["status", "headers", "body", "json", "latency"];
        assert_eq!(nearest("staus", known), Some("status"));
        assert_eq!(nearest("sattus", known), Some("status"));
        assert_eq!(nearest("Body", known), Some("body"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"s".repeat(5000), known), None);
    }

    #[test]
    fn names_are_listed_as_people_do() {
        assert_eq!(listed(["a"]), "`a`");
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
