//! The fields of a log line as text, with an escape for every character that a terminal would obey.

use std::fmt;

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::printable::printable;

/// Formats fields as tracing-subscriber does by default, which escapes the message only, not the value of a field that is
/// logged by its `Display`: subjects, reasons and errors quote what strangers wrote.
pub(crate) fn printable_fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(write_field).delimited(" ")
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = format!("{value:?}");
    let text = printable(&text);
    match field.name() {
        "message" => writer.write_str(&text),
        name if writer.has_ansi_escapes() => {
            write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m{text}")
        }
        name => write!(writer, "{name}={text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn no_field_commands_the_terminal() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .fmt_fields(printable_fields())
            .finish();
        let evil = "order.\u{1b}[2Jcreated\nINFO forged \u{9b}31m";
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(subject = %evil, attempts = 3, reason = evil, "parked {evil}");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
        let subject = r"subject=order.\u{1b}[2Jcreated\nINFO forged \u{9b}31m attempts=3";
        assert!(
            text.contains(subject) && text.contains(r"parked order.\u{1b}[2J"),
            "{text}"
        );
    }
}
