/*!
The messages, a file for each of VPP's subjects. Fields have VPP's names and order.

A request on the wire is its number (u16), the client's index (u32), a context (u32) that comes back in
the answer, and its fields. A reply is number, context, `retval` (i32) and fields; what a dump sends has
no `retval`; an event has the client's index in the context's place.
*/

use crate::table::Name;
use crate::wire::{DecodeError, Field, Reader};

mod address;
mod af_packet;
mod control;
mod feature;
mod interface;
mod memif;
mod neighbor;
mod route;
mod table;
mod tap;

pub use address::*;
pub use af_packet::*;
pub use control::*;
pub use feature::*;
pub use interface::*;
pub use memif::*;
pub use neighbor::*;
pub use route::*;
pub use table::*;
pub use tap::*;

/// A message, without what every message of its kind begins with.
pub trait Message: Field {
    /// Its name.
    const NAME: Name;
    /// What it begins with.
    const KIND: Kind;
}

/// What a message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client's index and a context.
    Request,
    /// The context of what it answers; a reply's `retval` counts as part of it.
    Reply,
    /// The context of the dump.
    Details,
    /// The client's index, and no context.
    Event,
}

/// A request that has one reply.
pub trait Call: Message {
    /// The reply's fields behind `retval`.
    type Reply: Field;
    /// The reply's name.
    const REPLY: Name;
}

/// A request that is answered by any number of details.
pub trait Dump: Message {
    /// One of them.
    type Details: Message;
}

/// No fields: most replies.
impl Field for () {
    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }

    fn layout(_: &str, _: &mut Vec<String>) {}
}

/// Fields behind one another: of a message, or of a part of it.
macro_rules! fields {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $crate::wire::Field for $name {
            #[allow(unused_variables)]
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::wire::Field::write(&self.$field, out);)*
            }

            #[allow(unused_variables)]
            fn read(
                from: &mut $crate::wire::Reader<'_>,
            ) -> Result<Self, $crate::wire::DecodeError> {
                Ok(Self { $($field: $crate::wire::Field::read(from)?,)* })
            }

            #[allow(unused_variables)]
            fn layout(name: &str, out: &mut Vec<String>) {
                $(<$type as $crate::wire::Field>::layout(
                    &$crate::wire::below(name, stringify!($field).trim_start_matches("r#")),
                    out,
                );)*
            }
        }
    )*};
}

/// Messages of one component, and the list of them.
macro_rules! messages {
    ($component:ident, $list:ident, $(
        $(#[$doc:meta])*
        $kind:ident $name:ident = $vpp:literal $crc:literal
        $(=> $reply:ty = $reply_crc:literal)?
        $(-> $details:ty)?
        { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
    )*) => {
        $(
            $crate::msg::fields! {
                $(#[$doc])*
                $name { $($(#[$field_doc])* $field: $type,)* }
            }

            impl $crate::msg::Message for $name {
                const NAME: $crate::table::Name = $crate::table::Name {
                    name: $vpp,
                    crc: $crc,
                    component: $crate::table::Component::$component,
                };
                const KIND: $crate::msg::Kind = $crate::msg::messages!(@kind $kind);
            }

            $(impl $crate::msg::Call for $name {
                type Reply = $reply;
                const REPLY: $crate::table::Name = $crate::table::Name {
                    name: concat!($vpp, "_reply"),
                    crc: $reply_crc,
                    component: $crate::table::Component::$component,
                };
            })?

            $(impl $crate::msg::Dump for $name {
                type Details = $details;
            })?
        )*

        /// What this file has.
        pub(crate) const $list: &[$crate::catalogue::List] = &[$(
            |known| {
                known.push($crate::catalogue::Known::message::<$name>());
                $crate::msg::messages!(@reply known $name $($reply)?);
            },
        )*];
    };
    (@kind call) => { $crate::msg::Kind::Request };
    (@kind dump) => { $crate::msg::Kind::Request };
    (@kind details) => { $crate::msg::Kind::Details };
    (@kind event) => { $crate::msg::Kind::Event };
    (@reply $known:ident $name:ident) => {};
    (@reply $known:ident $name:ident $reply:ty) => {
        $known.push($crate::catalogue::Known::reply::<$name>());
    };
}

pub(crate) use fields;
use messages;

/// The lists of all files.
pub(crate) const LISTS: &[&[crate::catalogue::List]] = &[
    control::CONTROL,
    interface::INTERFACE,
    address::ADDRESS,
    feature::FEATURE,
    table::TABLE,
    route::ROUTE,
    neighbor::NEIGHBOR,
    af_packet::AF_PACKET,
    tap::TAP,
    memif::MEMIF,
];
