//! The syntax of `meta.conf`: words, quoted or not, `key=value`, lists, and sections with or without a title.
//!
//! Knows no key by name. Reads in one pass, keeps no more than the text it was given, and ends on any input.

use std::iter::Peekable;
use std::str::Chars;

use super::MetaError;
use crate::limits::{META_DEPTH_MAX, VALUE_BYTES_MAX};

/// One statement of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Line it started on, from 1.
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// What stands behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Value(String),
    List(Vec<String>),
    Section {
        title: Option<String>,
        body: Vec<Statement>,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Equals,
    Open,
    Close,
    Comma,
}

/// Reads the whole text.
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>, MetaError> {
    let mut reader = Reader {
        chars: text.chars().peekable(),
        line: 1,
    };
    reader.body(0)
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn fault(&self, what: &'static str) -> MetaError {
        MetaError {
            line: self.line,
            what: what.into(),
        }
    }

    /// Statements up to the closing brace, or at depth 0 up to the end of the text.
    fn body(&mut self, depth: usize) -> Result<Vec<Statement>, MetaError> {
        if depth > META_DEPTH_MAX {
            return Err(self.fault("sections are nested too deeply"));
        }
        let mut statements = Vec::new();
        loop {
            let name = match self.token()? {
                Some(Token::Word(name)) => name,
                Some(Token::Close) if depth > 0 => return Ok(statements),
                None if depth == 0 => return Ok(statements),
                None => return Err(self.fault("a section is not closed")),
                Some(Token::Equals | Token::Open | Token::Close | Token::Comma) => {
                    return Err(self.fault("a name is missing"));
                }
            };
            let line = self.line;
            let content = self.content(depth)?;
            statements.push(Statement {
                line,
                name,
                content,
            });
        }
    }

    fn content(&mut self, depth: usize) -> Result<Content, MetaError> {
        match self.token()? {
            Some(Token::Equals) => self.value(),
            Some(Token::Open) => Ok(Content::Section {
                title: None,
                body: self.body(depth + 1)?,
            }),
            Some(Token::Word(title)) => match self.token()? {
                Some(Token::Open) => Ok(Content::Section {
                    title: Some(title),
                    body: self.body(depth + 1)?,
                }),
                Some(Token::Word(_) | Token::Equals | Token::Close | Token::Comma) | None => {
                    Err(self.fault("a section title must be followed by '{'"))
                }
            },
            Some(Token::Close | Token::Comma) | None => {
                Err(self.fault("a name must be followed by '=' or '{'"))
            }
        }
    }

    fn value(&mut self) -> Result<Content, MetaError> {
        match self.token()? {
            Some(Token::Word(word)) => Ok(Content::Value(word)),
            Some(Token::Open) => self.list(),
            Some(Token::Equals | Token::Close | Token::Comma) | None => {
                Err(self.fault("a value is missing"))
            }
        }
    }

    fn list(&mut self) -> Result<Content, MetaError> {
        let mut words = Vec::new();
        loop {
            match self.token()? {
                Some(Token::Word(word)) => words.push(word),
                Some(Token::Close) => return Ok(Content::List(words)),
                Some(Token::Equals | Token::Open | Token::Comma) | None => {
                    return Err(self.fault("a list is malformed"));
                }
            }
            match self.token()? {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(Content::List(words)),
                Some(Token::Word(_) | Token::Equals | Token::Open) | None => {
                    return Err(self.fault("a list is malformed"));
                }
            }
        }
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.chars.next();
        if c == Some('\n') {
            self.line += 1;
        }
        c
    }

    fn token(&mut self) -> Result<Option<Token>, MetaError> {
        loop {
            let Some(c) = self.chars.peek().copied() else {
                return Ok(None);
            };
            match c {
                c if c.is_whitespace() => {
                    self.next_char();
                }
                // fwup writes options that are not set as comments.
                '#' => while self.next_char().is_some_and(|c| c != '\n') {},
                '=' | '{' | '}' | ',' => {
                    self.next_char();
                    return Ok(Some(match c {
                        '=' => Token::Equals,
                        '{' => Token::Open,
                        '}' => Token::Close,
                        _ => Token::Comma,
                    }));
                }
                '"' | '\'' => return self.quoted().map(|word| Some(Token::Word(word))),
                _ => return self.bare().map(|word| Some(Token::Word(word))),
            }
        }
    }

    fn bare(&mut self) -> Result<String, MetaError> {
        let mut word = String::new();
        while let Some(c) = self.chars.peek().copied() {
            if c.is_whitespace() || matches!(c, '=' | '{' | '}' | ',' | '"' | '\'' | '#') {
                break;
            }
            self.next_char();
            self.keep(&mut word, c)?;
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, MetaError> {
        let quote = self.next_char();
        let mut word = String::new();
        loop {
            match self.next_char() {
                None => return Err(self.fault("a quote is not closed")),
                c if c == quote => return Ok(word),
                Some('\\') if quote == Some('"') => {
                    let Some(c) = self.escape() else {
                        return Err(self.fault("an escape in quotes is unknown"));
                    };
                    self.keep(&mut word, c)?;
                }
                Some(c) => self.keep(&mut word, c)?,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        match self.next_char()? {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            c @ ('"' | '\\' | '\'' | '$' | '/' | ' ') => Some(c),
            _ => None,
        }
    }

    fn keep(&self, word: &mut String, c: char) -> Result<(), MetaError> {
        if c == '\0' || word.len() + c.len_utf8() > VALUE_BYTES_MAX {
            return Err(self.fault("a value is too long or holds a zero byte"));
        }
        word.push(c);
        Ok(())
    }
}
