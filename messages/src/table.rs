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

/// A conversation that can be read back from a trace.
macro_rules! readable_table {
    (
        $(#[$enum_doc:meta])* $enum:ident
        $($(#[$doc:meta])* $name:ident { $($fields:tt)* })*
    ) => {
        table! {
            (Serialize, Deserialize)
            $(#[$enum_doc])* $enum
            $($(#[$doc])* $name { $($fields)* })*
        }
        impl $enum {
            /// The message of this name, from its fields in a trace. None: there is none of that name.
            ///
            /// # Errors
            /// Its fields can't be read.
            pub fn read(name: &str, fields: &str) -> Option<serde_json::Result<$enum>> {
                Some(match name {
                    $(stringify!($name) => serde_json::from_str(fields).map($enum::$name),)*
                    _ => return None,
                })
            }
        }
    };
}

/// What a host asks, by who answers: its structs, one enum of all of them, and a macro that sends each to the one who answers.
macro_rules! requests {
    (
        ($d:tt)
        supervisor { $($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })* }
        inbox { $($(#[$doc2:meta])* $name2:ident { $($(#[$field_doc2:meta])* $field2:ident : $type2:ty),* $(,)? })* }
    ) => {
        messages! { $($(#[$doc])* $name { $($(#[$field_doc])* $field: $type),* })* }
        messages! { $($(#[$doc2])* $name2 { $($(#[$field_doc2])* $field2: $type2),* })* }
        /// Everything that a host can ask.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $(#[doc = concat!("[`", stringify!($name), "`]")] $name($name),)*
            $(#[doc = concat!("[`", stringify!($name2), "`]")] $name2($name2),)*
        }
        $(impl From<$name> for Request {
            fn from(request: $name) -> Request { Request::$name(request) }
        })*
        $(impl From<$name2> for Request {
            fn from(request: $name2) -> Request { Request::$name2(request) }
        })*
        impl Request {
            /// The request of this name, from its fields in a trace: of an environment there are only the names, of input only the size. None: there is none of
            /// that name.
            ///
            /// # Errors
            /// Its fields can't be read.
            pub fn read(name: &str, fields: &str) -> Option<serde_json::Result<Request>> {
                Some(match name {
                    $(stringify!($name) => serde_json::from_str(fields).map(Request::$name),)*
                    $(stringify!($name2) => serde_json::from_str(fields).map(Request::$name2),)*
                    _ => return None,
                })
            }
            /// Who answers it.
            pub fn holder(&self) -> ActorName {
                match self {
                    $(Request::$name(_) => ActorName::Supervisor,)*
                    $(Request::$name2(_) => ActorName::Inbox,)*
                }
            }
        }
        /// Matches on a [`Request`], and sends its message to the one who answers.
        #[macro_export]
        macro_rules! route_request {
            ($d request:expr, $d message:ident, supervisor: $d supervisor:expr, inbox: $d inbox:expr) => {
                match $d request {
                    $($crate::Request::$name($d message) => $d supervisor,)*
                    $($crate::Request::$name2($d message) => $d inbox,)*
                }
            };
        }
    };
}

pub(crate) use {messages, notices, readable_table, requests, table};
