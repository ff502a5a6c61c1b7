//! From a tree to a program: what names mean, whether types fit, whether patterns are valid.
//!
//! In: a tree and the kind of gate. Out: a program that can only fail by what is answered, or the first thing that is wrong, with
//! what is known instead. Never here: values of an answer.
//!
//! A condition that could never be true is refused here, when somebody writes it, and not when a release waits for it.

use std::sync::Arc;

use super::functions::{Function, find, result};
use super::pattern::Pattern;
use super::program::{Step, Term, Variable};
use super::syntax::{Field, Macro, Node, Operator, Part};
use super::types::{Sort, Type};
use super::value::Value;
use super::{ExpressionError, Kind};
use crate::nearest::{listed, nearest, suggestion};
use crate::place::Span;

pub(super) fn check(text: &str, kind: Kind, node: &Node) -> Result<Term, ExpressionError> {
    let mut check = Check { text, kind, locals: Vec::new() };
    let (term, gives) = check.term(node)?;
    if gives.may_be(Sort::Bool) {
        return Ok(term);
    }
    let hint = match &term.step {
        Step::Variable(Variable::Status) => ": write `status == 200`",
        Step::Variable(Variable::Value) => ": write `value < 0.01`",
        _ => "",
    };
    check.error(node.span, format!("the expression gives {}, and a gate needs true or false{hint}", gives.name()))
}

struct Check<'a> {
    text: &'a str,
    kind: Kind,
    /// Names of macros around, the innermost last.
    locals: Vec<(String, Type)>,
}

type Checked<T = (Term, Type)> = Result<T, ExpressionError>;

impl Check<'_> {
    fn error<T>(&self, span: Span, message: impl Into<String>) -> Checked<T> {
        Err(ExpressionError::new(self.text, span.start, message))
    }

    /// As the user has written it.
    fn shown(&self, span: Span) -> String {
        span.shown(self.text)
    }

    fn term(&mut self, node: &Node) -> Checked {
        let constant = |value| Step::Constant(value);
        let (step, gives) = match &node.part {
            Part::Null => (constant(Value::Null), Type::Of(Sort::Null)),
            Part::Bool(value) => (constant(Value::Bool(*value)), Type::BOOL),
            Part::Int(value) => (constant(Value::Int(*value)), Type::INT),
            Part::Double(value) => (constant(Value::Double(*value)), Type::DOUBLE),
            Part::String(text) => (constant(Value::string(text)), Type::STRING),
            Part::Name(name) => self.name(node.span, name)?,
            Part::Select(of, field) => {
                let (of, gives) = self.member(of, field)?;
                (Step::Select(Box::new(of), Arc::from(field.name.as_str())), gives)
            }
            Part::Has(of, field) => {
                let (of, _) = self.member(of, field)?;
                (Step::Has(Box::new(of), Arc::from(field.name.as_str())), Type::BOOL)
            }
            Part::Index(of, index) => self.index(of, index)?,
            Part::Call { target, name, arguments } => self.call(target.as_deref(), name, arguments)?,
            Part::List(nodes) => self.list(nodes)?,
            Part::Map(entries) => self.map(entries)?,
            Part::Not(of) => (Step::Not(Box::new(self.truth(of, "`!`")?)), Type::BOOL),
            Part::Negate(of) => self.negate(of)?,
            Part::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Part::And(nodes) => (Step::And(self.truths(nodes, "`&&`")?), Type::BOOL),
            Part::Or(nodes) => (Step::Or(self.truths(nodes, "`||`")?), Type::BOOL),
            Part::Choose(condition, yes, no) => self.choose(node.span, condition, yes, no)?,
            Part::Each { kind, of, name, filter, body } => self.each(*kind, of, name, filter.as_deref(), body)?,
        };
        Ok((Term { span: node.span, step }, gives))
    }

    fn name(&self, span: Span, name: &str) -> Checked<(Step, Type)> {
        if let Some((slot, (_, gives))) = self.locals.iter().enumerate().rev().find(|(_, (local, _))| local == name) {
            return Ok((Step::Local(slot), gives.clone()));
        }
        match Variable::named(name) {
            Some(variable) if variable.is_in(self.kind) => Ok((Step::Variable(variable), variable.type_of())),
            Some(_) => self.error(span, format!("a {} gate has no `{name}`, only {}", self.kind, self.known())),
            None => {
                let hint = match nearest(name, self.names()) {
                    Some(near) => format!("; did you mean `{near}`?"),
                    None => suggestion(name, ["true", "false", "null"]),
                };
                self.error(span, format!("there is no `{name}` here, only {}{hint}", self.known()))
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Variable::of(self.kind).map(Variable::name).collect();
        names.extend(self.locals.iter().map(|(local, _)| local.as_str()));
        names
    }

    fn known(&self) -> String {
        listed(self.names())
    }

    /// `of.field`: `of` as a term, and the type of the field.
    fn member(&mut self, node: &Node, field: &Field) -> Checked {
        let (of, holder) = self.term(node)?;
        if matches!(of.step, Step::Variable(Variable::Headers)) {
            self.header(field.span, &field.name)?;
        }
        let gives = match (&holder, field.name.as_str()) {
            (Type::Sample, "labels") => Type::map(Type::STRING),
            (Type::Sample, "value") => Type::DOUBLE,
            (Type::Sample, name) => {
                return self.error(field.span, format!("a sample has `labels` and `value`, and no `{name}`"));
            }
            (Type::Map(value), _) => value.as_ref().clone(),
            (Type::Json | Type::Dyn, _) => holder,
            _ => {
                let of = self.shown(of.span);
                return self.error(field.span, format!("`{of}` is {}, and has no members", holder.name()));
            }
        };
        Ok((of, gives))
    }

    /// Names of headers are compared as they are, and here they are in small letters.
    fn header(&self, span: Span, name: &str) -> Checked<()> {
        if name.chars().any(|each| each.is_ascii_uppercase()) {
            let lower = name.to_ascii_lowercase();
            return self.error(span, format!("names of headers are in small letters here: write '{lower}'"));
        }
        Ok(())
    }

    fn index(&mut self, of: &Node, index: &Node) -> Checked<(Step, Type)> {
        let (of, holder) = self.term(of)?;
        let (key, by) = self.term(index)?;
        if let (Step::Variable(Variable::Headers), Part::String(name)) = (&of.step, &index.part) {
            self.header(index.span, name)?;
        }
        let (wanted, gives) = match (&holder, &index.part) {
            (Type::List(element), _) => (Sort::Int, element.as_ref().clone()),
            (Type::Map(value), _) => (Sort::String, value.as_ref().clone()),
            (Type::Sample, Part::String(name)) => {
                let field = Field { name: name.clone(), span: index.span };
                let gives = match field.name.as_str() {
                    "labels" => Type::map(Type::STRING),
                    "value" => Type::DOUBLE,
                    name => return self.error(field.span, format!("a sample has `labels` and `value`, and no `{name}`")),
                };
                (Sort::String, gives)
            }
            (Type::Sample, _) => (Sort::String, Type::Dyn),
            (Type::Json, _) if by.may_be(Sort::Int) => (Sort::Int, Type::Json),
            (Type::Json, _) if by.may_be(Sort::Double) => (Sort::Double, Type::Json),
            (Type::Json, _) => (Sort::String, Type::Json),
            (Type::Dyn, _) => return Ok((Step::Index(Box::new(of), Box::new(key)), Type::Dyn)),
            _ => {
                let of = self.shown(of.span);
                return self.error(key.span, format!("`{of}` is {}, and has no elements", holder.name()));
            }
        };
        let fits = by.may_be(wanted) || wanted == Sort::Int && by.is_open();
        if !fits {
            let message = format!("elements of {} are named by {}, and this is {}", holder.name(), wanted.name(), by.name());
            return self.error(key.span, message);
        }
        Ok((Step::Index(Box::new(of), Box::new(key)), gives))
    }

    fn call(&mut self, target: Option<&Node>, name: &Field, arguments: &[Node]) -> Checked<(Step, Type)> {
        let method = target.is_some();
        let signature = find(&name.name, method).or_else(|message| self.error(name.span, message))?;
        let nodes: Vec<&Node> = target.into_iter().chain(arguments).collect();
        if nodes.len() != signature.takes.len() {
            return self.error(name.span, signature.wants(method));
        }
        let mut terms = Vec::with_capacity(nodes.len());
        for (node, wanted) in nodes.into_iter().zip(signature.takes) {
            let (term, gives) = self.term(node)?;
            if !gives.sorts().meets(*wanted) {
                let message = format!("{}; `{}` is {}", signature.wants(method), self.shown(node.span), gives.name());
                return self.error(node.span, message);
            }
            terms.push(term);
        }
        if signature.function == Function::Matches {
            return self.pattern(name.span, terms);
        }
        Ok((Step::Call(signature.function, terms), signature.gives.clone()))
    }

    fn pattern(&self, span: Span, terms: Vec<Term>) -> Checked<(Step, Type)> {
        let Ok([text, pattern]) = <[Term; 2]>::try_from(terms) else { return self.error(span, "`matches` takes a pattern") };
        let Step::Constant(Value::String(literal)) = &pattern.step else {
            return self.error(pattern.span, "a pattern is written as a string, so that it can be checked now and not later");
        };
        let compiled = Pattern::new(literal).or_else(|message| self.error(pattern.span, message))?;
        Ok((Step::Matches(Box::new(text), compiled), Type::BOOL))
    }

    fn list(&mut self, nodes: &[Node]) -> Checked<(Step, Type)> {
        let mut terms = Vec::with_capacity(nodes.len());
        let mut element: Option<Type> = None;
        for node in nodes {
            let (term, gives) = self.term(node)?;
            terms.push(term);
            element = Some(match element {
                None => gives,
                Some(before) => before.either(gives).unwrap_or(Type::Dyn),
            });
        }
        Ok((Step::List(terms), Type::list(element.unwrap_or(Type::Dyn))))
    }

    fn map(&mut self, entries: &[(Node, Node)]) -> Checked<(Step, Type)> {
        let mut terms = Vec::with_capacity(entries.len());
        let mut value: Option<Type> = None;
        for (key, node) in entries {
            let (key_term, by) = self.term(key)?;
            if !by.may_be(Sort::String) {
                return self.error(key.span, format!("keys of a map are strings here, and this is {}", by.name()));
            }
            let (term, gives) = self.term(node)?;
            terms.push((key_term, term));
            value = Some(match value {
                None => gives,
                Some(before) => before.either(gives).unwrap_or(Type::Dyn),
            });
        }
        Ok((Step::Map(terms), Type::map(value.unwrap_or(Type::Dyn))))
    }

    /// Something that can be true or false.
    fn truth(&mut self, node: &Node, asker: &str) -> Checked<Term> {
        let (term, gives) = self.term(node)?;
        if gives.may_be(Sort::Bool) {
            return Ok(term);
        }
        self.error(node.span, format!("{asker} needs true or false, and `{}` is {}", self.shown(node.span), gives.name()))
    }

    fn truths(&mut self, nodes: &[Node], asker: &str) -> Checked<Vec<Term>> {
        nodes.iter().map(|node| self.truth(node, asker)).collect()
    }

    fn negate(&mut self, of: &Node) -> Checked<(Step, Type)> {
        let (term, gives) = self.term(of)?;
        if !gives.may_be(Sort::Int) && !gives.may_be(Sort::Double) {
            return self.error(of.span, format!("`-` needs a number, and `{}` is {}", self.shown(of.span), gives.name()));
        }
        Ok((Step::Negate(Box::new(term)), gives))
    }

    fn binary(&mut self, operator: Operator, left: &Node, right: &Node) -> Checked<(Step, Type)> {
        self.dash(operator, left, right)?;
        let (first, one) = self.term(left)?;
        let (second, other) = self.term(right)?;
        let gives = match operator {
            Operator::Equal | Operator::Unequal => one.can_equal(&other).then_some(Type::BOOL),
            Operator::In => self.within(left, &one, &second, &other)?.then_some(Type::BOOL),
            _ => result(operator, &one, &other),
        };
        let Some(gives) = gives else {
            let sign = operator.sign();
            let (before, behind) = (self.shown(left.span), self.shown(right.span));
            let hint = hint(operator, &one, &other, [left, right]);
            let message = match operator {
                Operator::Equal | Operator::Unequal => {
                    format!("`{before}` is {} and `{behind}` {}: they are never equal{hint}", one.name(), other.name())
                }
                _ => format!("`{before}` is {} and `{behind}` {}: `{sign}` does not take these{hint}", one.name(), other.name()),
            };
            return self.error(left.span, message);
        };
        Ok((Step::Binary(operator, Box::new(first), Box::new(second)), gives))
    }

    /// Whether something of this type can be in there.
    fn within(&self, node: &Node, one: &Type, holder: &Term, gives: &Type) -> Checked<bool> {
        if let (Part::String(name), Step::Variable(Variable::Headers)) = (&node.part, &holder.step) {
            self.header(node.span, name)?;
        }
        Ok(match gives {
            Type::List(element) => one.can_equal(element),
            Type::Map(_) | Type::Sample => one.may_be(Sort::String),
            Type::Json | Type::Dyn => true,
            Type::Of(_) => false,
        })
    }

    /// `headers.content-type` is a subtraction, and nobody means one.
    fn dash(&self, operator: Operator, left: &Node, right: &Node) -> Checked<()> {
        let (Operator::Subtract, Part::Select(of, field), Part::Name(rest)) = (operator, &left.part, &right.part) else {
            return Ok(());
        };
        let adjacent = left.span.end + 1 == right.span.start;
        if !adjacent || Variable::named(rest).is_some() || self.locals.iter().any(|(local, _)| local == rest) {
            return Ok(());
        }
        let of = self.shown(of.span);
        self.error(left.span, format!("a name with a dash is written `{of}['{}-{rest}']`", field.name))
    }

    fn choose(&mut self, span: Span, condition: &Node, yes: &Node, no: &Node) -> Checked<(Step, Type)> {
        let condition = self.truth(condition, "`?`")?;
        let (yes, one) = self.term(yes)?;
        let (no, other) = self.term(no)?;
        let names = (one.name(), other.name());
        let Some(gives) = one.either(other) else {
            return self.error(span, format!("both sides of `:` need the same type, and they are {} and {}", names.0, names.1));
        };
        Ok((Step::Choose(Box::new(condition), Box::new(yes), Box::new(no)), gives))
    }

    fn each(&mut self, kind: Macro, of: &Node, name: &str, filter: Option<&Node>, body: &Node) -> Checked<(Step, Type)> {
        let (list, holder) = self.term(of)?;
        let element = match &holder {
            Type::List(element) => element.as_ref().clone(),
            Type::Map(_) | Type::Sample => Type::STRING,
            Type::Json | Type::Dyn => holder.clone(),
            Type::Of(_) => {
                let of = self.shown(of.span);
                return self.error(list.span, format!("`{of}` is {}, and has no elements", holder.name()));
            }
        };
        self.locals.push((name.to_owned(), element.clone()));
        let filter = filter.map(|node| self.truth(node, "the second argument of `map`")).transpose()?;
        let (body, gives) = match kind {
            Macro::Map => self.term(body)?,
            Macro::All | Macro::Exists | Macro::ExistsOne | Macro::Filter => {
                (self.truth(body, "what is asked of each element")?, Type::BOOL)
            }
        };
        self.locals.pop();
        let gives = match kind {
            Macro::All | Macro::Exists | Macro::ExistsOne => Type::BOOL,
            Macro::Map => Type::list(gives),
            Macro::Filter => Type::list(element),
        };
        Ok((Step::Each { kind, of: Box::new(list), filter: filter.map(Box::new), body: Box::new(body) }, gives))
    }
}

/// What helps most often.
fn hint(operator: Operator, one: &Type, other: &Type, nodes: [&Node; 2]) -> String {
    let either = |wanted: &Type| one == wanted || other == wanted;
    let literal = nodes.into_iter().find_map(|node| if let Part::Int(value) = node.part { Some(value) } else { None });
    let as_double = literal.map_or_else(|| "write `double(…)` around the int".to_owned(), |value| format!("write `{value}.0`"));
    match operator {
        Operator::Multiply | Operator::Divide if either(&Type::DURATION) => "; use `latency.getMilliseconds()`".to_owned(),
        _ if either(&Type::DURATION) => "; a duration is written `duration('500ms')`".to_owned(),
        Operator::Remainder if !either(&Type::STRING) => "; it is for ints: write `int(…)`".to_owned(),
        Operator::Add if either(&Type::STRING) => "; write `string(…)` around what is none".to_owned(),
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide if either(&Type::INT) => {
            if either(&Type::Json) {
                format!("; numbers in JSON are doubles: {as_double}")
            } else if either(&Type::DOUBLE) {
                format!("; {as_double}")
            } else {
                String::new()
            }
        }
        _ if either(&Type::STRING) && (either(&Type::INT) || either(&Type::DOUBLE)) => {
            "; a number is written without quotes, and a text becomes one by `int(…)` or `double(…)`".to_owned()
        }
        _ => String::new(),
    }
}
