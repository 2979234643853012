//! What a page says is to be run, as values: its commands, and what they are to print.
//!
//! A block ```` ```sh run ```` is a piece of a script. In a block ```` ```console run ```` lines that begin with `# ` or `$ ` are
//! commands (one that ends with a backslash goes on in the next line), and the lines after each are all that it prints:
//! `...` within a line stands for any text, as a line of its own for any number of lines.

/// A command of a page, or a piece of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The line of the page that it begins at, from 1.
    pub(super) line: usize,
    /// What is run.
    pub(super) command: String,
    /// The lines that it is to print; `None` if that is not said.
    pub(super) prints: Option<Vec<String>>,
}

/// The kind of block that a line of a page is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Other,
    Script,
    Console,
}

/// The steps of a page, in its order.
pub(super) fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block = Block::None;
    for (line, text) in (1..).zip(page.lines()) {
        block = match (block, text) {
            (Block::None, "```sh run") => {
                steps.push(Step { line, command: String::new(), prints: None });
                Block::Script
            }
            (Block::None, "```console run") => Block::Console,
            (Block::None, _) if text.starts_with("```") => Block::Other,
            (Block::None, _) => Block::None,
            (_, "```") => Block::None,
            (Block::Script, _) => {
                let script = steps.last_mut().expect("the block has begun a step");
                script.command.push_str(text);
                script.command.push('\n');
                block
            }
            (Block::Console, _) => {
                console(&mut steps, line, text);
                block
            }
            (Block::Other, _) => block,
        };
    }
    steps
}

fn console(steps: &mut Vec<Step>, line: usize, text: &str) {
    if let Some(command) = text.strip_prefix("# ").or_else(|| text.strip_prefix("$ ")) {
        steps.push(Step { line, command: command.to_owned(), prints: Some(Vec::new()) });
        return;
    }
    let Some(Step { command, prints: Some(prints), .. }) = steps.last_mut() else {
        panic!("line {line}: a console begins with a command, not with {text:?}");
    };
    if prints.is_empty() && command.ends_with('\\') {
        command.push('\n');
        command.push_str(text);
    } else {
        prints.push(text.to_owned());
    }
}

/// Whether these lines are what was said.
pub(super) fn is_as_said(said: &[String], printed: &[&str]) -> bool {
    let Some((first, rest)) = said.split_first() else { return printed.is_empty() };
    if first.trim() == "..." {
        return (0..=printed.len()).any(|skipped| is_as_said(rest, &printed[skipped..]));
    }
    printed
        .split_first()
        .is_some_and(|(line, left)| is_line_as_said(first, line) && is_as_said(rest, left))
}

/// The same of one line; blanks at its end do not count.
fn is_line_as_said(said: &str, line: &str) -> bool {
    let (said, mut line) = (said.trim_end(), line.trim_end());
    let Some((first, rest)) = said.split_once("...") else { return said == line };
    let Some(left) = line.strip_prefix(first) else { return false };
    line = left;
    let mut pieces: Vec<&str> = rest.split("...").collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = line.find(piece) else { return false };
        line = &line[at + piece.len()..];
    }
    line.ends_with(last)
}

#[test]
fn pages_are_read_as_they_are_meant() {
    let page = "# Title\n```sh\nnot run\n```\n```sh run\na=1\nb=2\n```\n```console run\n# echo $a\n1\n$ echo \\\n  x\nx\n\
                y\n# true\n```\n";
    let step = |line, command: &str, prints: Option<&[&str]>| Step {
        line,
        command: command.to_owned(),
        prints: prints.map(|lines| lines.iter().map(|&line| line.to_owned()).collect()),
    };
    assert_eq!(
        steps(page),
        [
            step(5, "a=1\nb=2\n", None),
            step(10, "echo $a", Some(&["1"])),
            step(12, "echo \\\n  x", Some(&["x", "y"])),
            step(16, "true", Some(&[])),
        ]
    );
}

#[test]
fn dots_stand_for_anything() {
    for (said, printed, right) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "a\nb", false),
        ("a\nb", "a", false),
        ("a...", "a and more  ", true),
        ("a...c", "abc", true),
        ("a...c", "abcd", false),
        ("a...b...c", "a c b c", true),
        ("a...b...c", "a c b", false),
        ("...", "", true),
        ("...", "a\nb", true),
        ("a\n...", "a", true),
        ("...\nb\n...", "a\nb\nb\nc", true),
        ("...\nx\n...", "a\nb", false),
        ("a...a", "a", false),
    ] {
        let said_lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let printed_lines: Vec<&str> = printed.lines().collect();
        assert_eq!(is_as_said(&said_lines, &printed_lines), right, "{said:?} {printed:?}");
    }
}
