//! What was probably meant by a key that is not known.

/// From "unknown field a, expected one of b, c" (each in backticks): the nearest, if one is near.
pub(super) fn suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown") {
        return String::new();
    }
    let Some(wrong) = quoted.next() else { return String::new() };
    quoted
        .map(|known| (distance(wrong, known), known))
        .min()
        .filter(|(d, known)| *d <= known.len().max(3) / 2)
        .map_or_else(String::new, |(_, known)| format!("\ndid you mean `{known}`?"))
}

/// Edits that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
