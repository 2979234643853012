/*!
The small part of regular expressions that the case files use.

Literals, `.`, `\` escapes, `^`, `$`, `*`, `+`, `?` after a single character, and groups of
alternatives. `.` matches a line break too. Anything else is refused, so that a case which needs more
fails aloud instead of matching by accident.
*/

/// One step of a pattern.
enum Node {
    Literal(char),
    Any,
    Digit,
    Start,
    End,
    Group(Vec<Vec<Node>>),
    Repeat { what: Box<Node>, least: usize, most: usize },
}

/// Whether `pattern` matches somewhere in `text`; an error names what is not supported.
pub fn found(pattern: &str, text: &str) -> Result<bool, String> {
    let mut rest: Vec<char> = pattern.chars().rev().collect();
    let alternatives = parse_alternatives(&mut rest)?;
    if !rest.is_empty() {
        return Err(format!("unbalanced parenthesis in pattern {pattern:?}"));
    }
    let text: Vec<char> = text.chars().collect();
    let whole = [Node::Group(alternatives)];
    Ok((0..=text.len()).any(|start| matches(&whole, &text, start, &mut |_| true)))
}

/// `rest` holds the pattern backwards: its last element is the next character.
fn parse_alternatives(rest: &mut Vec<char>) -> Result<Vec<Vec<Node>>, String> {
    let mut alternatives = vec![Vec::new()];
    while let Some(&next) = rest.last() {
        if next == ')' {
            break;
        }
        rest.pop();
        let sequence = alternatives.last_mut().expect("there is always one");
        match next {
            '|' => alternatives.push(Vec::new()),
            '*' | '+' | '?' => {
                let what = match sequence.pop() {
                    Some(node @ (Node::Literal(_) | Node::Any | Node::Digit)) => Box::new(node),
                    _ => return Err(format!("{next:?} after something that cannot be repeated")),
                };
                let least = usize::from(next == '+');
                let most = if next == '?' { 1 } else { usize::MAX };
                sequence.push(Node::Repeat { what, least, most });
            }
            '(' => {
                let group = parse_alternatives(rest)?;
                if rest.pop() != Some(')') {
                    return Err("a group is not closed".to_owned());
                }
                sequence.push(Node::Group(group));
            }
            '\\' => sequence.push(match rest.pop() {
                Some('n') => Node::Literal('\n'),
                Some('d') => Node::Digit,
                Some(c) if !c.is_alphanumeric() => Node::Literal(c),
                other => return Err(format!("escape {other:?} is not supported")),
            }),
            '.' => sequence.push(Node::Any),
            '^' => sequence.push(Node::Start),
            '$' => sequence.push(Node::End),
            '[' | '{' => return Err(format!("{next:?} is not supported in patterns")),
            c => sequence.push(Node::Literal(c)),
        }
    }
    Ok(alternatives)
}

/// Whether `nodes` match from `at` on, and what follows them agrees with where they end.
fn matches(
    nodes: &[Node],
    text: &[char],
    at: usize,
    follows: &mut dyn FnMut(usize) -> bool,
) -> bool {
    let Some((node, rest)) = nodes.split_first() else {
        return follows(at);
    };
    match node {
        Node::Start => at == 0 && matches(rest, text, at, follows),
        Node::End => (at == text.len() || text[at..] == ['\n']) && matches(rest, text, at, follows),
        Node::Group(alternatives) => alternatives
            .iter()
            .any(|one| matches(one, text, at, &mut |end| matches(rest, text, end, follows))),
        Node::Repeat { what, least, most } => {
            let longest = text[at..].iter().take(*most).take_while(|c| is_one(what, **c)).count();
            longest >= *least
                && (*least..=longest).rev().any(|n| matches(rest, text, at + n, follows))
        }
        one => {
            text.get(at).is_some_and(|c| is_one(one, *c)) && matches(rest, text, at + 1, follows)
        }
    }
}

/// Whether a node for a single character takes this one.
fn is_one(node: &Node, c: char) -> bool {
    match node {
        Node::Literal(l) => *l == c,
        Node::Any => true,
        Node::Digit => c.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn patterns_match_as_they_should() {
        for (pattern, text, expected) in [
            (".", "x", true),
            (".", "", false),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^10\\.1\\.2\\.(88|77)$", "10.1.2.77", true),
            ("^10\\.1\\.2\\.(88|77)$", "10.1.2.7", false),
            ("^10\\.1\\.2\\.(88|77)$", "10x1.2.88", false),
            ("^a(b|bc)d$", "abcd", true),
            ("^CNI .+ v\\d+\\nend", "CNI some plugin v12\nend", true),
            ("^CNI .+ v\\d+\\nend", "CNI  v12\nend", false),
            ("^ab*c?$", "abbb", true),
            ("^a.c$", "a\nc", true),
        ] {
            assert_eq!(found(pattern, text), Ok(expected), "{pattern} on {text:?}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        for pattern in ["[a-z]", "a{2}", "(a|b)+", "\\w", "(a", "a)", "*"] {
            assert!(found(pattern, "a").is_err(), "{pattern}");
        }
    }
}
