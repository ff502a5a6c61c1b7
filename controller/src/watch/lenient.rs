//! Reading what must not end the list of everybody else: kube decodes a list as one document, so one object that cannot be read would
//! keep the controller from seeing any.
//!
//! In: fields of objects as the API server sends them. Out: a value, or the one that stands for "not readable". Never an error for
//! text that is JSON at all.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};

/// Nothing that a person writes is nested deeper. `serde_json` gives up at 128, the envelope of a list included; an API server takes
/// thousands.
const DEEPEST: usize = 100;

/// Free JSON, read down to [`DEEPEST`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shallow {
    pub(super) value: Value,
    /// There was more below, and it was left out.
    pub(super) cut: bool,
}

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut cut = false;
        let value = Level { left: DEEPEST, cut: &mut cut }.deserialize(deserializer)?;
        Ok(Self { value, cut })
    }
}

struct Level<'a> {
    left: usize,
    cut: &'a mut bool,
}

impl Level<'_> {
    fn below(&mut self) -> Level<'_> {
        Level { left: self.left.saturating_sub(1), cut: self.cut }
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.left == 0 {
            // What is ignored is skipped without recursion.
            *self.cut = true;
            return IgnoredAny::deserialize(deserializer).map(|_| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.below())? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            object.insert(key, fields.next_value_seed(self.below())?);
        }
        Ok(object.into())
    }
}

/// A `T`, or its default where something else stands. For small fields: the value is read as a whole first.
pub(super) fn lenient<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: DeserializeOwned + Default,
    D: Deserializer<'de>,
{
    Ok(serde_json::from_value(Shallow::deserialize(deserializer)?.value).unwrap_or_default())
}

/// A list; what cannot be read as a `T` is its default there.
pub(super) fn lenient_list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: DeserializeOwned + Default,
    D: Deserializer<'de>,
{
    let items: Vec<Value> = lenient(deserializer)?;
    Ok(items.into_iter().map(|item| serde_json::from_value(item).unwrap_or_default()).collect())
}

/// A struct whose own fields are all lenient, read as it comes (a pod template is passed over), or its default where something else stands.
pub(super) fn lenient_fields<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Fields(PhantomData))
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Thing {
        #[serde(deserialize_with = "lenient")]
        count: Option<i32>,
        #[serde(deserialize_with = "lenient")]
        labels: BTreeMap<String, String>,
        #[serde(deserialize_with = "lenient_list")]
        parts: Vec<Thing>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Whole {
        #[serde(default, deserialize_with = "lenient_fields")]
        thing: Thing,
        after: i32,
    }

    #[test]
    fn a_wrong_type_costs_nothing_but_its_own_field() {
        let good = Thing { count: Some(3), labels: [("a".to_owned(), "b".to_owned())].into(), parts: vec![Thing::default()] };
        let table = [
            (r#"{"count":3,"labels":{"a":"b"},"parts":["x"],"more":[1]}"#, good),
            (r#"{"count":"x","labels":[[1],2],"parts":{"a":{"b":1}}}"#, Thing::default()),
            (r#"{"count":99999999999,"labels":{"a":{"deep":[1]},"b":"c"},"parts":null}"#, Thing::default()),
            ("[[1,{}],2]", Thing::default()),
            ("true", Thing::default()),
            ("null", Thing::default()),
        ];
        for (text, expected) in table {
            let text = format!(r#"{{"thing":{text},"after":7}}"#);
            assert_eq!(serde_json::from_str::<Whole>(&text).unwrap(), Whole { thing: expected, after: 7 }, "{text}");
        }
    }

    #[test]
    fn what_is_deep_is_cut_and_what_is_not_is_the_same() {
        let deep = |levels: usize| {
            format!(r#"{{"a":{}1{},"b":[1,-2,0.5,"x",null,true,{{"c":[]}}]}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        let read = |text: &str| serde_json::from_str::<Shallow>(text).unwrap();
        let plain = deep(90);
        assert_eq!(read(&plain), Shallow { value: serde_json::from_str(&plain).unwrap(), cut: false });
        for levels in [100, 200, 9_000] {
            let cut = read(&deep(levels));
            assert!(cut.cut && cut.value["b"][6]["c"].is_array(), "{levels}");
        }
    }
}
