//! Schemas of inputs and outputs, as the clients that exist can read them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Of a tool's arguments. What may be absent is not said to be null: some models' APIs refuse lists of types.
pub(crate) fn of_input<T: JsonSchema>() -> Arc<Map<String, Value>> {
    let mut schema = generate::<T>();
    walk(&mut schema, &|object| {
        if let Some(Value::Array(types)) = object.get("type") {
            let mut named = types.iter().filter(|name| *name != "null");
            if let (Some(name), None) = (named.next().cloned(), named.next()) {
                object.insert("type".to_owned(), name);
            }
        }
        if let Some(Value::Array(values)) = object.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        if object.get("default") == Some(&Value::Null) {
            object.remove("default");
        }
        if let Some(Value::Array(any)) = object.get("anyOf") {
            let some: Vec<&Value> = any.iter().filter(|one| one["type"] != "null").collect();
            if let ([Value::Object(only)], true) = (some.as_slice(), any.len() == 2) {
                let mut only = only.clone();
                object.remove("anyOf");
                only.extend(std::mem::take(object));
                *object = only;
            }
        }
    });
    as_object(schema)
}

/// Of a tool's structured content.
pub(crate) fn of_output<T: JsonSchema>() -> Arc<Map<String, Value>> {
    as_object(generate_output::<T>())
}

/// The same where only these are always there.
pub(crate) fn of_output_with<T: JsonSchema>(always: &[&str]) -> Arc<Map<String, Value>> {
    let mut schema = generate_output::<T>();
    schema["required"] = Value::from(always);
    as_object(schema)
}

/// What may be null is said by a choice of two: validators and converters warn of lists of types.
fn generate_output<T: JsonSchema>() -> Value {
    let mut schema = generate::<T>();
    walk(&mut schema, &|object| {
        let Some(Value::Array(types)) = object.get("type").cloned() else { return };
        object.remove("type");
        let about = object.remove("description");
        let some = types.iter().find(|name| *name != "null").cloned().unwrap_or_default();
        let mut some = Map::from_iter([("type".to_owned(), some)]);
        some.append(object);
        object.extend(about.map(|about| ("description".to_owned(), about)));
        object.insert(
            "anyOf".to_owned(),
            Value::from(vec![Value::Object(some), serde_json::json!({ "type": "null" })]),
        );
    });
    schema
}

fn generate<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    walk(&mut schema, &|object| {
        // Validators warn of formats that they don't know, like uint64.
        for word in ["format", "$schema", "title"] {
            if object.get(word).is_some_and(Value::is_string) {
                object.remove(word);
            }
        }
    });
    schema
}

fn walk(value: &mut Value, change: &impl Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(|value| walk(value, change));
            change(object);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, change)),
        _ => {}
    }
}

fn as_object(schema: Value) -> Arc<Map<String, Value>> {
    match schema {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}
