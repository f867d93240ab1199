//! The lines of a program's text, which VRL's errors at run time know by their bytes only.

/// Where its lines end.
#[derive(Debug, Default)]
pub(super) struct Lines(Box<[usize]>);

/// How VRL begins to tell of a call that failed.
const CALL: &str = "function call error for \"";

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(ends.map(|(at, _)| at).collect())
    }

    /// The number of the line, from 1, that holds byte `at`.
    pub(super) fn line(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at) + 1
    }

    /// An error with its line: `line 2: string() failed: ..`. Of calls around one another the
    /// innermost is told, which is the one that failed.
    pub(super) fn located(&self, error: &str) -> String {
        let mut rest = error;
        let mut failed = None;
        while let Some((name, at, behind)) = call(rest) {
            failed = Some((name, at));
            rest = behind;
        }
        match failed {
            Some((name, at)) => format!("line {}: {name}() failed: {rest}", self.line(at)),
            None => rest.to_owned(),
        }
    }
}

/// `function call error for "NAME" at (START:END): ..`: the name, the start, and what is behind.
fn call(error: &str) -> Option<(&str, usize, &str)> {
    let (name, rest) = error.strip_prefix(CALL)?.split_once("\" at (")?;
    let (span, behind) = rest.split_once("): ")?;
    let (start, _) = span.split_once(':')?;
    Some((name, start.parse().ok()?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line_of_the_innermost_call() {
        let lines = Lines::of("x = 1\ny = upcase!(\n  string!(.x))\n");
        let error = "function call error for \"upcase\" at (10:35): function call error for \
                     \"string\" at (20:31): expected string, got integer";
        assert_eq!(
            lines.located(error),
            "line 3: string() failed: expected string, got integer"
        );
        assert_eq!(
            lines.located("can't divide by zero"),
            "can't divide by zero"
        );
        assert_eq!((lines.line(0), lines.line(5), lines.line(6)), (1, 1, 2));
        // A text of the event's own is left as it is.
        let told = "unable: function call error for \"x\" at (1:2): y";
        assert_eq!(lines.located(told), told);
    }
}
