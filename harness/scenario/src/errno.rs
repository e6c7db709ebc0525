// SPDX-License-Identifier: GPL-2.0-only

//! Error numbers by their names.
//!
//! In: a name such as `EINVAL`, or a number. Out: an [`Errno`], which always has both.
//! Source: `include/uapi/asm-generic/errno-base.h` and `errno.h`, Linux 7.3.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error number of Linux; in plan.json its name.
///
/// ```
/// use deferinit_scenario::Errno;
///
/// assert_eq!(Errno::from_name("EINVAL"), Some(Errno::EINVAL));
/// assert_eq!((Errno::EINVAL.number(), Errno::EINVAL.name()), (22, "EINVAL"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $number:literal,)*) => {
        impl Errno {
            $(#[doc = concat!("Error number ", $number, ".")]
            pub const $name: Self = Self($number);)*

            /// Every error number, in order, with its name.
            const NAMES: &[(Self, &'static str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

errnos! {
    EPERM = 1,
    ENOENT = 2,
    ESRCH = 3,
    EINTR = 4,
    EIO = 5,
    ENXIO = 6,
    E2BIG = 7,
    ENOEXEC = 8,
    EBADF = 9,
    ECHILD = 10,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EFAULT = 14,
    ENOTBLK = 15,
    EBUSY = 16,
    EEXIST = 17,
    EXDEV = 18,
    ENODEV = 19,
    ENOTDIR = 20,
    EISDIR = 21,
    EINVAL = 22,
    ENFILE = 23,
    EMFILE = 24,
    ENOTTY = 25,
    ETXTBSY = 26,
    EFBIG = 27,
    ENOSPC = 28,
    ESPIPE = 29,
    EROFS = 30,
    EMLINK = 31,
    EPIPE = 32,
    EDOM = 33,
    ERANGE = 34,
    EDEADLK = 35,
    ENAMETOOLONG = 36,
    ENOLCK = 37,
    ENOSYS = 38,
    ENOTEMPTY = 39,
    ELOOP = 40,
    ENOMSG = 42,
    EIDRM = 43,
    ECHRNG = 44,
    EL2NSYNC = 45,
    EL3HLT = 46,
    EL3RST = 47,
    ELNRNG = 48,
    EUNATCH = 49,
    ENOCSI = 50,
    EL2HLT = 51,
    EBADE = 52,
    EBADR = 53,
    EXFULL = 54,
    ENOANO = 55,
    EBADRQC = 56,
    EBADSLT = 57,
    EBFONT = 59,
    ENOSTR = 60,
    ENODATA = 61,
    ETIME = 62,
    ENOSR = 63,
    ENONET = 64,
    ENOPKG = 65,
    EREMOTE = 66,
    ENOLINK = 67,
    EADV = 68,
    ESRMNT = 69,
    ECOMM = 70,
    EPROTO = 71,
    EMULTIHOP = 72,
    EDOTDOT = 73,
    EBADMSG = 74,
    EOVERFLOW = 75,
    ENOTUNIQ = 76,
    EBADFD = 77,
    EREMCHG = 78,
    ELIBACC = 79,
    ELIBBAD = 80,
    ELIBSCN = 81,
    ELIBMAX = 82,
    ELIBEXEC = 83,
    EILSEQ = 84,
    ERESTART = 85,
    ESTRPIPE = 86,
    EUSERS = 87,
    ENOTSOCK = 88,
    EDESTADDRREQ = 89,
    EMSGSIZE = 90,
    EPROTOTYPE = 91,
    ENOPROTOOPT = 92,
    EPROTONOSUPPORT = 93,
    ESOCKTNOSUPPORT = 94,
    EOPNOTSUPP = 95,
    EPFNOSUPPORT = 96,
    EAFNOSUPPORT = 97,
    EADDRINUSE = 98,
    EADDRNOTAVAIL = 99,
    ENETDOWN = 100,
    ENETUNREACH = 101,
    ENETRESET = 102,
    ECONNABORTED = 103,
    ECONNRESET = 104,
    ENOBUFS = 105,
    EISCONN = 106,
    ENOTCONN = 107,
    ESHUTDOWN = 108,
    ETOOMANYREFS = 109,
    ETIMEDOUT = 110,
    ECONNREFUSED = 111,
    EHOSTDOWN = 112,
    EHOSTUNREACH = 113,
    EALREADY = 114,
    EINPROGRESS = 115,
    ESTALE = 116,
    EUCLEAN = 117,
    ENOTNAM = 118,
    ENAVAIL = 119,
    EISNAM = 120,
    EREMOTEIO = 121,
    EDQUOT = 122,
    ENOMEDIUM = 123,
    EMEDIUMTYPE = 124,
    ECANCELED = 125,
    ENOKEY = 126,
    EKEYEXPIRED = 127,
    EKEYREVOKED = 128,
    EKEYREJECTED = 129,
    EOWNERDEAD = 130,
    ENOTRECOVERABLE = 131,
    ERFKILL = 132,
    EHWPOISON = 133,
}

impl Errno {
    /// The error number with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, candidate)| *candidate == name)
            .map(|(errno, _)| *errno)
    }

    /// The error number of this positive value.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::NAMES
            .iter()
            .map(|(errno, _)| *errno)
            .find(|errno| errno.0 == number)
    }

    /// The number, positive.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The name, as scenario files have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(errno, _)| *errno == self)
            .map_or("", |(_, name)| name)
    }

    /// Every name, in the order of the numbers.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(_, name)| *name)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Errno {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::from_name(&name).ok_or_else(|| format!("unknown error `{name}`"))
    }
}

impl From<Errno> for &'static str {
    fn from(errno: Errno) -> Self {
        errno.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_one_name_and_one_number() {
        for (errno, name) in Errno::NAMES {
            assert_eq!(Errno::from_name(name), Some(*errno));
            assert_eq!(Errno::from_number(errno.number()), Some(*errno));
            assert_eq!(errno.name(), *name);
        }
        let numbers: Vec<i32> = Errno::NAMES.iter().map(|(errno, _)| errno.0).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next));
        assert_eq!(Errno::from_name("EWHAT"), None);
        // The numbers that `EWOULDBLOCK` and `EDEADLOCK` would have.
        assert_eq!(
            (Errno::from_number(41), Errno::from_number(58)),
            (None, None)
        );
        assert_eq!(
            (Errno::from_number(0), Errno::from_number(-22)),
            (None, None)
        );
    }
}
