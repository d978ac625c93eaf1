//! How messages are defined: a table for each conversation, from which its types and its enum are made.

/// Messages that can be read back from a trace.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
    )*};
}

/// Messages that a trace has in brief, and can't be read back.
macro_rules! notices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
    )*};
}

/// A conversation: its messages, and one enum of all of them.
macro_rules! table {
    (
        $derived:tt
        $(#[$enum_doc:meta])* $enum:ident
        $($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*
    ) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq)]
            #[derive $derived]
            pub struct $name { $($(#[$field_doc])* pub $field: $type),* }
            impl From<$name> for $enum {
                fn from(message: $name) -> $enum { $enum::$name(message) }
            }
        )*
        $(#[$enum_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $enum { $(#[doc = concat!("[`", stringify!($name), "`]")] $name($name)),* }
    };
}

pub(crate) use {messages, notices, table};
