//! A PKCS#11 module that wraps a real one and breaks on command: for tests, never for keys.
//!
//! `FAULT_REAL` names the module behind it and `FAULT_DIRECTORY` a directory that it
//! may write. Each call of a function that it watches appends a byte to the
//! directory's file of that name, so that calls are counted across processes. The
//! file `commands` has one command a line, read anew at every call:
//!
//! ```text
//! C_Login 3 abort          at the third call of all
//! C_Sign /7 rv 0xB3        at every seventh: return this CKR code and do nothing
//! C_Sign * delay 5         at every call: take five milliseconds more
//! C_Sign ~97@1 corrupt     at one in 97 calls, drawn by chance; with another seed than 1 at others
//! C_SignInit.1041 * segv   only where the mechanism has this number, in hexadecimal
//! ```
//!
//! Actions: `abort`, `corrupt` (one bit of the signature), `delay MS`, `hang`, `hold MS`
//! (delay, and let no other call in meanwhile, as modules do that make a key), `length N`
//! (the signature's, when it is asked for), `lose` (do it, and abort before the answer),
//! `rv CODE`, `segv`, `shout` (a thousand lines to standard error), `swap` (another key's
//! handle in its place, of those seen before; of a new pair both).
//! Of `C_Sign` only calls that sign count. What was done is counted, too: in a file with
//! the function's name and the action's, as `C_Sign.corrupt`.
//!
//! A file `reach` lists what is tried when the module is loaded, as `reach.rs` says.
#![expect(unsafe_code, reason = "a module's interface is C: pointers that its caller vouches for")]

mod command;
mod reach;

use std::ffi::OsStr;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use cryptoki_sys::{
    CK_ATTRIBUTE_PTR, CK_BYTE_PTR, CK_FLAGS, CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR_PTR, CK_MECHANISM_PTR, CK_NOTIFY,
    CK_OBJECT_HANDLE, CK_OBJECT_HANDLE_PTR, CK_RV, CK_SESSION_HANDLE, CK_SESSION_HANDLE_PTR, CK_SESSION_INFO_PTR,
    CK_SLOT_ID, CK_TOKEN_INFO_PTR, CK_ULONG, CK_ULONG_PTR, CK_USER_TYPE, CK_VOID_PTR, CKR_FUNCTION_NOT_SUPPORTED,
    CKR_GENERAL_ERROR, CKR_OK, Pkcs11,
};

use command::Action;

/// The module behind this one, and our list of functions.
struct Wrapped {
    /// Keeps the library loaded.
    _library: Pkcs11,
    real: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
}

// SAFETY: function pointers and a library handle, written once and only read afterwards.
unsafe impl Send for Wrapped {}
// SAFETY: as above.
unsafe impl Sync for Wrapped {}

static WRAPPED: OnceLock<Option<Wrapped>> = OnceLock::new();
/// Keys that were signed with, for `swap`.
static SEEN: Mutex<Vec<CK_OBJECT_HANDLE>> = Mutex::new(Vec::new());
/// The first pair that was made, for `swap`.
static FIRST_PAIR: Mutex<Option<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)>> = Mutex::new(None);
/// Held for writing by a call that lets no other in.
static HELD: RwLock<()> = RwLock::new(());

fn wrapped() -> Option<&'static Wrapped> {
    WRAPPED.get_or_init(|| load(&std::env::var_os("FAULT_REAL")?)).as_ref()
}

fn load(path: &OsStr) -> Option<Wrapped> {
    if let Some(directory) = command::directory() {
        reach::try_all(&directory);
    }
    let mut list = std::ptr::null_mut();
    // SAFETY: the test names a real module, whose function list lives as long as the library is loaded.
    let (library, real) = unsafe {
        let library = Pkcs11::new(path).ok()?;
        if library.C_GetFunctionList(&mut list) != CKR_OK || list.is_null() {
            return None;
        }
        (library, *list)
    };
    let mut ours = real;
    install(&mut ours);
    Some(Wrapped { _library: library, real, ours })
}

/// Gives out our list of functions; the one symbol that a module must have.
///
/// # Safety
/// `list` points to where a pointer can be written, as PKCS#11 says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    let Some(wrapped) = wrapped() else { return CKR_GENERAL_ERROR };
    // SAFETY: the caller's promise; nobody writes through the pointer that it gets.
    unsafe { *list = (&raw const wrapped.ours).cast_mut() };
    CKR_OK
}

/// A thousand lines to standard error, with what a terminal obeys in each.
fn shout() {
    let mut stderr = std::io::stderr().lock();
    for line in 0..1000 {
        // Nobody may listen.
        let _ = writeln!(stderr, "\u{1b}[2Jshouting {line}\r\u{7}");
    }
}

/// Does what the commands say before a call: comes back with a code to return, or with what is to be done after it.
fn before(name: &str) -> Result<Option<Action>, CK_RV> {
    let mut after = None;
    for action in command::due(name) {
        match action {
            Action::Abort => std::process::abort(),
            // SAFETY: there is nothing at address 8, which is what is wanted of it.
            Action::Segv => unsafe { std::ptr::with_exposed_provenance_mut::<u8>(8).write_volatile(1) },
            Action::Hang => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
            Action::Delay(time) => std::thread::sleep(time),
            Action::Hold(time) => {
                let _held = HELD.write().unwrap_or_else(PoisonError::into_inner);
                std::thread::sleep(time);
            }
            Action::Rv(code) => return Err(code),
            Action::Shout => shout(),
            Action::Corrupt | Action::Length(_) | Action::Lose | Action::Swap => after = Some(action),
        }
    }
    drop(HELD.read().unwrap_or_else(PoisonError::into_inner));
    Ok(after)
}

/// Does what a command says after a call.
fn after(action: Option<Action>) {
    if action == Some(Action::Lose) {
        std::process::abort();
    }
}

/// A watched function: breaks as commanded, else does what the real one does.
macro_rules! watch {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(
            #[expect(non_snake_case, reason = "the standard's name")]
            unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                match before(stringify!($name)) {
                    Err(code) => code,
                    Ok(action) => match wrapped().and_then(|wrapped| wrapped.real.$name) {
                        Some(real) => {
                            // SAFETY: the caller's arguments, as they came.
                            let code = unsafe { real($($argument),*) };
                            after(action);
                            code
                        }
                        None => CKR_FUNCTION_NOT_SUPPORTED,
                    },
                }
            }
        )*

        fn install(list: &mut CK_FUNCTION_LIST) {
            list.C_GetFunctionList = Some(C_GetFunctionList);
            list.C_SignInit = Some(C_SignInit);
            list.C_Sign = Some(C_Sign);
            list.C_GenerateKeyPair = Some(C_GenerateKeyPair);
            $( list.$name = Some($name); )*
        }
    };
}

watch! {
    C_Initialize(arguments: CK_VOID_PTR);
    C_GetTokenInfo(slot: CK_SLOT_ID, info: CK_TOKEN_INFO_PTR);
    C_OpenSession(
        slot: CK_SLOT_ID, flags: CK_FLAGS, application: CK_VOID_PTR, notify: CK_NOTIFY, session: CK_SESSION_HANDLE_PTR
    );
    C_GetSessionInfo(session: CK_SESSION_HANDLE, info: CK_SESSION_INFO_PTR);
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: CK_BYTE_PTR, length: CK_ULONG);
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG);
    C_GetAttributeValue(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG
    );
    C_CreateObject(
        session: CK_SESSION_HANDLE, template: CK_ATTRIBUTE_PTR, count: CK_ULONG, object: CK_OBJECT_HANDLE_PTR
    );
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    C_Decrypt(
        session: CK_SESSION_HANDLE, data: CK_BYTE_PTR, length: CK_ULONG, plain: CK_BYTE_PTR, plain_length: CK_ULONG_PTR
    );
    C_GenerateKey(
        session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, template: CK_ATTRIBUTE_PTR, count: CK_ULONG,
        key: CK_OBJECT_HANDLE_PTR
    );
}

#[expect(non_snake_case, reason = "the standard's name")]
unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public: CK_ATTRIBUTE_PTR,
    public_count: CK_ULONG,
    private: CK_ATTRIBUTE_PTR,
    private_count: CK_ULONG,
    public_key: CK_OBJECT_HANDLE_PTR,
    private_key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let action = match before("C_GenerateKeyPair") {
        Ok(action) => action,
        Err(code) => return code,
    };
    let Some(real) = wrapped().and_then(|wrapped| wrapped.real.C_GenerateKeyPair) else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    // SAFETY: the caller's arguments, as they came.
    let code =
        unsafe { real(session, mechanism, public, public_count, private, private_count, public_key, private_key) };
    after(action);
    if code == CKR_OK {
        let mut first = FIRST_PAIR.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: where the real module has just written.
        let made = unsafe { (*public_key, *private_key) };
        let known = *first.get_or_insert(made);
        if action == Some(Action::Swap) {
            // SAFETY: as above.
            unsafe { (*public_key, *private_key) = known };
        }
    }
    code
}

#[expect(non_snake_case, reason = "the standard's name")]
unsafe extern "C" fn C_SignInit(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: the caller's promise; where it is null there is no mechanism.
    let number = unsafe { mechanism.as_ref() }.map_or(0, |mechanism| mechanism.mechanism);
    let action = match before("C_SignInit").and_then(|action| Ok(before(&format!("C_SignInit.{number:x}"))?.or(action)))
    {
        Ok(action) => action,
        Err(code) => return code,
    };
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let other = seen.iter().rev().copied().find(|other| *other != key);
    if !seen.contains(&key) {
        seen.push(key);
    }
    drop(seen);
    let key = if action == Some(Action::Swap) { other.unwrap_or(key) } else { key };
    match wrapped().and_then(|wrapped| wrapped.real.C_SignInit) {
        // SAFETY: the caller's arguments, but for the number of another object.
        Some(real) => unsafe { real(session, mechanism, key) },
        None => CKR_FUNCTION_NOT_SUPPORTED,
    }
}

#[expect(non_snake_case, reason = "the standard's name")]
unsafe extern "C" fn C_Sign(
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG_PTR,
) -> CK_RV {
    let Some(real) = wrapped().and_then(|wrapped| wrapped.real.C_Sign) else { return CKR_FUNCTION_NOT_SUPPORTED };
    if signature.is_null() {
        // SAFETY: the caller's arguments, as they came.
        let code = unsafe { real(session, data, data_length, signature, signature_length) };
        if let Some(length) = command::made_up("C_Sign") {
            // SAFETY: where the real module has just written.
            unsafe { *signature_length = length };
        }
        return code;
    }
    let action = match before("C_Sign") {
        Ok(action) => action,
        Err(code) => return code,
    };
    // SAFETY: the caller's arguments, as they came.
    let code = unsafe { real(session, data, data_length, signature, signature_length) };
    after(action);
    if code == CKR_OK && action == Some(Action::Corrupt) {
        // SAFETY: the real module has written a signature of this length, which is not empty.
        unsafe { *signature.add(usize::try_from(*signature_length).unwrap_or(1) / 2) ^= 0x10 };
    }
    code
}
