//! From tokens to a tree: precedence, calls and macros.
//!
//! In: the text of an expression. Out: its tree, or the first place at which it cannot go on, with what was expected. Never here:
//! whether a name is known, types.
//!
//! Precedence climbing, so that one level of parentheses costs few frames; how deep a tree gets is limited both on the way down
//! (parentheses) and up (chains that lean to the left). Every token is looked at a bounded number of times.

use super::lexer::{Token, tokens};
use super::syntax::{Field, Macro, Node, Operator, Part};
use super::{ExpressionError, MAX_DEPTH};
use crate::nearest::listed;
use crate::place::Span;

/// Kept by CEL for languages around it: no names, but good for members (`json.if`).
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// Words of other languages, with what is written here.
const WORDS: [(&str, &str); 3] = [("and", "&&"), ("or", "||"), ("not", "!")];

pub(super) fn parse(text: &str) -> Result<Node, ExpressionError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    if *parser.token() == Token::End {
        return parser.error(parser.span(), "the expression is empty");
    }
    let node = parser.expression()?;
    match parser.token() {
        Token::End => Ok(node),
        _ => parser.unexpected("the end, or an operator"),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// The last one is the end.
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, ExpressionError>;

impl Parser<'_> {
    fn token(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn after(&self, count: usize) -> &Token {
        self.tokens.get(self.at + count).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).map_or(Span::new(self.text.len(), self.text.len()), |(_, span)| *span)
    }

    fn advance(&mut self) -> Span {
        let span = self.span();
        self.at += 1;
        span
    }

    fn error<T>(&self, span: Span, message: impl Into<String>) -> Parsed<T> {
        Err(ExpressionError::new(self.text, span.start, message))
    }

    fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        let span = self.span();
        let message = match self.token() {
            Token::End => format!("the expression ends where {expected} is expected"),
            Token::Name(name) => match WORDS.iter().find(|(word, _)| name.eq_ignore_ascii_case(word)) {
                Some((_, sign)) => format!("`{name}` is written `{sign}`"),
                None => format!("`{name}` where {expected} is expected"),
            },
            _ => format!("`{}` where {expected} is expected", span.shown(self.text)),
        };
        self.error(span, message)
    }

    fn eat(&mut self, wanted: &str) -> Option<Span> {
        matches!(self.token(), Token::Sign(sign) if *sign == wanted).then(|| self.advance())
    }

    fn expect(&mut self, wanted: &str, expected: &str) -> Parsed<Span> {
        match self.eat(wanted) {
            Some(span) => Ok(span),
            None => self.unexpected(expected),
        }
    }

    fn node(&self, span: Span, part: Part) -> Parsed<Node> {
        let below = part.children().map(|each| each.depth).max().unwrap_or_default();
        if below >= MAX_DEPTH {
            return self.too_deep(span);
        }
        Ok(Node { span, part, depth: below + 1 })
    }

    fn too_deep<T>(&self, span: Span) -> Parsed<T> {
        self.error(span, format!("nested or chained more than {MAX_DEPTH} times"))
    }

    /// What is read one level further down: in parentheses, or as the right side of an operator.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Parsed<Node>) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.too_deep(self.span());
        }
        let node = read(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn expression(&mut self) -> Parsed<Node> {
        self.deeper(Self::choice)
    }

    /// `or ? or : expression`
    fn choice(&mut self) -> Parsed<Node> {
        let mut node = self.binary(1)?;
        if self.eat("?").is_some() {
            let yes = self.binary(1)?;
            self.expect(":", "`:` and what holds otherwise")?;
            let no = self.expression()?;
            let span = node.span.to(no.span);
            node = self.node(span, Part::Choose(Box::new(node), Box::new(yes), Box::new(no)))?;
        }
        Ok(node)
    }

    /// Operators that bind at least as tightly as this: 1 `||`, 2 `&&`, then those of [`Operator::power`].
    fn binary(&mut self, least: u8) -> Parsed<Node> {
        let mut left = self.unary()?;
        loop {
            if least <= 1 && matches!(self.token(), Token::Sign("||")) {
                left = self.chain(left, "||", 2, Part::Or)?;
            } else if least <= 2 && matches!(self.token(), Token::Sign("&&")) {
                left = self.chain(left, "&&", 3, Part::And)?;
            } else if let Some(operator) = self.operator().filter(|operator| operator.power() >= least) {
                self.advance();
                let right = self.deeper(|parser| parser.binary(operator.power() + 1))?;
                let span = left.span.to(right.span);
                left = self.node(span, Part::Binary(operator, Box::new(left), Box::new(right)))?;
            } else {
                return Ok(left);
            }
        }
    }

    fn chain(&mut self, first: Node, sign: &str, above: u8, part: impl Fn(Vec<Node>) -> Part) -> Parsed<Node> {
        let mut nodes = vec![first];
        while self.eat(sign).is_some() {
            nodes.push(self.deeper(|parser| parser.binary(above))?);
        }
        let span = nodes.iter().map(|each| each.span).reduce(Span::to).unwrap_or_else(|| self.span());
        self.node(span, part(nodes))
    }

    fn operator(&self) -> Option<Operator> {
        let Token::Sign(sign) = self.token() else { return (*self.token() == Token::In).then_some(Operator::In) };
        let operators = [
            Operator::Equal,
            Operator::Unequal,
            Operator::Less,
            Operator::LessOrEqual,
            Operator::Greater,
            Operator::GreaterOrEqual,
            Operator::Add,
            Operator::Subtract,
            Operator::Multiply,
            Operator::Divide,
            Operator::Remainder,
        ];
        operators.into_iter().find(|each| each.sign() == *sign)
    }

    fn unary(&mut self) -> Parsed<Node> {
        let mut signs = Vec::new();
        while let Token::Sign(sign @ ("!" | "-")) = *self.token() {
            // The sign of a number is part of it: only so can the smallest int be written. And the grammar mixes no signs.
            let number = sign == "-" && matches!(self.after(1), Token::Int(_) | Token::Double(_));
            if number || signs.first().is_some_and(|(first, _)| *first != sign) {
                break;
            }
            signs.push((sign, self.advance()));
        }
        let mut node = self.member()?;
        for (sign, at) in signs.into_iter().rev() {
            let span = at.to(node.span);
            let part = if sign == "!" { Part::Not(Box::new(node)) } else { Part::Negate(Box::new(node)) };
            node = self.node(span, part)?;
        }
        Ok(node)
    }

    /// Something with any number of `.name`, `.name(…)` and `[…]` behind it.
    fn member(&mut self) -> Parsed<Node> {
        let mut node = self.primary()?;
        loop {
            if self.eat(".").is_some() {
                let field = self.field()?;
                node = match self.eat("(") {
                    None => {
                        let span = node.span.to(field.span);
                        self.node(span, Part::Select(Box::new(node), field))?
                    }
                    Some(_) => self.method(node, field)?,
                };
            } else if self.eat("[").is_some() {
                let index = self.expression()?;
                let close = self.expect("]", "`]`")?;
                let span = node.span.to(close);
                node = self.node(span, Part::Index(Box::new(node), Box::new(index)))?;
            } else {
                return Ok(node);
            }
        }
    }

    fn field(&mut self) -> Parsed<Field> {
        let name = match self.token() {
            Token::Name(name) => name.clone(),
            Token::True | Token::False | Token::Null | Token::In => {
                let word = self.span().shown(self.text);
                return self.error(self.span(), format!("`{word}` cannot stand behind a dot: write `['{word}']`"));
            }
            _ => return self.unexpected("a name"),
        };
        Ok(Field { name, span: self.advance() })
    }

    /// `target.name(`: a macro or a method; the parenthesis is open.
    fn method(&mut self, target: Node, name: Field) -> Parsed<Node> {
        let arguments = self.arguments()?;
        let span = target.span.to(self.last());
        let Some(kind) = Macro::named(&name.name) else {
            return self.node(span, Part::Call { target: Some(Box::new(target)), name, arguments });
        };
        let shape = || format!("`{0}` is written `{0}(x, …)`, with a name for the element and what is asked of it", name.name);
        let mut arguments = arguments.into_iter();
        let (Some(variable), Some(first)) = (arguments.next(), arguments.next()) else { return self.error(name.span, shape()) };
        let (filter, body) = match (arguments.next(), arguments.next()) {
            (None, _) => (None, first),
            (Some(second), None) if kind == Macro::Map => (Some(Box::new(first)), second),
            _ => return self.error(name.span, shape()),
        };
        let Part::Name(variable) = variable.part else {
            return self.error(variable.span, format!("the first argument of `{}` is a name for the element", name.name));
        };
        let body = Box::new(body);
        self.node(span, Part::Each { kind, of: Box::new(target), name: variable, filter, body })
    }

    /// Until the closing parenthesis, which is behind us then.
    fn arguments(&mut self) -> Parsed<Vec<Node>> {
        let mut arguments = Vec::new();
        if self.eat(")").is_some() {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.eat(",").is_none() {
                self.expect(")", "`)` or `,`")?;
                return Ok(arguments);
            }
        }
    }

    /// Where the token is that was read last.
    fn last(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or_else(|| self.span(), |(_, span)| *span)
    }

    fn primary(&mut self) -> Parsed<Node> {
        let span = self.span();
        let part = match self.token().clone() {
            Token::Null => Part::Null,
            Token::True => Part::Bool(true),
            Token::False => Part::Bool(false),
            Token::String(text) => Part::String(text),
            Token::Double(value) => Part::Double(value),
            Token::Int(magnitude) => Part::Int(self.int(span, i128::from(magnitude))?),
            Token::Sign("-") if matches!(self.after(1), Token::Int(_) | Token::Double(_)) => return self.negative(),
            Token::Sign("(") => {
                self.advance();
                let inner = self.expression()?;
                let close = self.expect(")", "`)`")?;
                return Ok(Node { span: span.to(close), ..inner });
            }
            Token::Sign("[") => return self.list(),
            Token::Sign("{") => return self.map(),
            Token::Name(name) => return self.named(name),
            Token::Sign(".") => return self.error(span, "a dot needs something before it"),
            _ => return self.unexpected("a value"),
        };
        self.advance();
        self.node(span, part)
    }

    fn int(&self, span: Span, value: i128) -> Parsed<i64> {
        match i64::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.error(span, "an int has 64 bits, and this one needs more; with `.0` behind it it is a double"),
        }
    }

    fn negative(&mut self) -> Parsed<Node> {
        let span = self.advance().to(self.span());
        let part = match *self.token() {
            Token::Int(magnitude) => Part::Int(self.int(span, -i128::from(magnitude))?),
            Token::Double(value) => Part::Double(-value),
            _ => return self.unexpected("a number"),
        };
        self.advance();
        self.node(span, part)
    }

    fn list(&mut self) -> Parsed<Node> {
        let open = self.advance();
        let mut elements = Vec::new();
        let close = loop {
            if let Some(close) = self.eat("]") {
                break close;
            }
            elements.push(self.expression()?);
            if self.eat(",").is_none() {
                break self.expect("]", "`]` or `,`")?;
            }
        };
        self.node(open.to(close), Part::List(elements))
    }

    fn map(&mut self) -> Parsed<Node> {
        let open = self.advance();
        let mut entries = Vec::new();
        let close = loop {
            if let Some(close) = self.eat("}") {
                break close;
            }
            let key = self.expression()?;
            self.expect(":", "`:` and a value")?;
            entries.push((key, self.expression()?));
            if self.eat(",").is_none() {
                break self.expect("}", "`}` or `,`")?;
            }
        };
        self.node(open.to(close), Part::Map(entries))
    }

    /// A name, a function, or the macro `has`.
    fn named(&mut self, name: String) -> Parsed<Node> {
        let span = self.span();
        if RESERVED.contains(&name.as_str()) {
            return self.error(span, format!("`{name}` is a reserved word of CEL"));
        }
        if let Some((word, sign)) = WORDS.iter().find(|(word, _)| *word == name) {
            return self.error(span, format!("`{word}` is written `{sign}`"));
        }
        self.advance();
        if matches!(self.token(), Token::Sign("{")) {
            return self.error(self.span(), "messages are not part of expressions here");
        }
        if self.eat("(").is_none() {
            return self.node(span, Part::Name(name));
        }
        let arguments = self.arguments()?;
        let all = span.to(self.last());
        if name == "has" {
            return match <[Node; 1]>::try_from(arguments) {
                Ok([Node { part: Part::Select(of, field), .. }]) => self.node(all, Part::Has(of, field)),
                _ => self.error(span, "`has` asks for a member, as in `has(json.version)`; for a key: `'version' in json`"),
            };
        }
        if Macro::named(&name).is_some() {
            let macros = listed(Macro::NAMES);
            return self.error(span, format!("{macros} stand behind a list, as in `json.items.{name}(x, …)`"));
        }
        self.node(all, Part::Call { target: None, name: Field { name, span }, arguments })
    }
}
