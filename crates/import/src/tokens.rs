//! Splits SQL text into statements and tokens, as SQLite's own tokenizer would (sqlite.org/lang_expr.html,
//! literal values; sqlite.org/lang_comment.html). Knows nothing of what a statement means.

use std::borrow::Cow;

/// A statement without its semicolon.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Its text.
    pub text: &'a str,
    /// Its tokens; never none.
    pub tokens: Vec<Token<'a>>,
}

/// A piece of a statement; comments and blanks are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword or a bare name.
    Word(&'a str),
    /// A name in double quotes, backticks or brackets, without them.
    Name(Cow<'a, str>),
    /// `'text'`, `x'00'` or a number.
    Literal,
    /// Anything else.
    Symbol(char),
}

/// The text ends within a statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The line that statement begins on, from 1.
    pub line: usize,
}

/// The statements of `sql`.
///
/// # Errors
/// The last one lacks its semicolon, a quote or the end of a comment.
pub fn split(sql: &str) -> Result<Vec<Statement<'_>>, Unfinished> {
    let mut statements = Vec::new();
    let mut tokens = Vec::new();
    let (mut start, mut line) = (0, 1);
    let (mut position, mut lines_seen_to) = (0, 0);
    while let Some(first) = sql[position..].chars().next() {
        if tokens.is_empty() {
            line += sql[lines_seen_to..position].matches('\n').count();
            (start, lines_seen_to) = (position, position);
        }
        let (length, token) = next(&sql[position..], first).ok_or(Unfinished { line })?;
        if first == ';' {
            if !tokens.is_empty() {
                let text = &sql[start..position];
                statements.push(Statement { line, text, tokens: std::mem::take(&mut tokens) });
            }
        } else {
            tokens.extend(token);
        }
        position += length;
    }
    if tokens.is_empty() { Ok(statements) } else { Err(Unfinished { line }) }
}

/// How many bytes of `text`, which begins with `first`, the next token or gap takes; nothing when it has no end.
fn next(text: &str, first: char) -> Option<(usize, Option<Token<'_>>)> {
    let while_true = |is: fn(char) -> bool| text.find(|c| !is(c)).unwrap_or(text.len());
    Some(match first {
        _ if is_blank(first) => (while_true(is_blank), None),
        '-' if text.starts_with("--") => (text.find('\n').unwrap_or(text.len()), None),
        '/' if text.starts_with("/*") => (2 + text[2..].find("*/")? + 2, None),
        '\'' => (quoted(text, '\'')?, Some(Token::Literal)),
        'x' | 'X' if text[1..].starts_with('\'') => (1 + quoted(&text[1..], '\'')?, Some(Token::Literal)),
        '"' | '`' => {
            let length = quoted(text, first)?;
            let (inner, doubled) = (&text[1..length - 1], [first, first].iter().collect::<String>());
            let name = if inner.contains(first) {
                Cow::Owned(inner.replace(&doubled, &first.to_string()))
            } else {
                Cow::Borrowed(inner)
            };
            (length, Some(Token::Name(name)))
        }
        '[' => {
            let length = text.find(']')? + 1;
            (length, Some(Token::Name(Cow::Borrowed(&text[1..length - 1]))))
        }
        '0'..='9' => (number(text), Some(Token::Literal)),
        _ if is_word(first) => {
            let length = while_true(is_word);
            (length, Some(Token::Word(&text[..length])))
        }
        symbol => (symbol.len_utf8(), Some(Token::Symbol(symbol))),
    })
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// The length of the quoted run that `text` begins with; the quote stands for itself when doubled.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut end = 1;
    loop {
        end += text[end..].find(quote)? + 1;
        if !text[end..].starts_with(quote) {
            return Some(end);
        }
        end += 1;
    }
}

/// The length of the number that `text` begins with, such as `12`, `0x1F` or `1.5e-3`.
fn number(text: &str) -> usize {
    let plain = |text: &str| text.find(|c: char| !is_word(c) && c != '.').unwrap_or(text.len());
    let length = plain(text);
    let (digits, rest) = text.split_at(length);
    let signed_exponent =
        digits.ends_with(['e', 'E']) && !digits.starts_with("0x") && rest.starts_with(['+', '-']);
    if signed_exponent { length + 1 + plain(&rest[1..]) } else { length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<(usize, &str)> {
        split(sql).unwrap().iter().map(|statement| (statement.line, statement.text)).collect()
    }

    #[test]
    fn semicolons_and_newlines_in_quotes_and_comments_end_nothing() {
        let sql =
            "INSERT INTO t VALUES('a;''b\n;');\n-- one; two\n/* three;\n four */ SELECT \";\", `;`, [;];;\n";
        let expected = [(1, "INSERT INTO t VALUES('a;''b\n;')"), (5, "SELECT \";\", `;`, [;]")];
        assert_eq!(texts(sql), expected);
    }

    #[test]
    fn tokens_are_told_apart() {
        let statement = split("a.\"b\"\"c\" 'x''y' X'00' 1.5e-3 0x1F -2 é(\u{0});").unwrap().remove(0);
        let (literal, symbol) = (Token::Literal, Token::Symbol);
        let expected = vec![
            Token::Word("a"),
            symbol('.'),
            Token::Name("b\"c".into()),
            literal.clone(),
            literal.clone(),
            literal.clone(),
            literal.clone(),
            symbol('-'),
            literal,
            Token::Word("é"),
            symbol('('),
            symbol('\0'),
            symbol(')'),
        ];
        assert_eq!(statement.tokens, expected);
    }

    #[test]
    fn a_text_that_ends_within_a_statement_is_unfinished() {
        for sql in ["\nSELECT 1", "\nSELECT 'a", "\nSELECT \"a", "\nSELECT [a", "\nSELECT 1 /* ;", "\nx'0"] {
            assert_eq!(split(sql), Err(Unfinished { line: 2 }), "{sql:?}");
        }
        assert_eq!(texts("SELECT 1; -- the end"), [(1, "SELECT 1")]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "[a-z0-9xé'\"`\\[\\];/*\\-. \n\u{0}+]{0,40}") {
            let _ = split(&sql);
        }
    }
}
