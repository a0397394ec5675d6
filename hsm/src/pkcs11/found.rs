//! From a module's file to a token that was found, and that nobody has shown a PIN yet.

use std::fmt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::Session as Pkcs11Session;
use cryptoki::slot::{Slot, TokenInfo};

use super::fault::Fault;
use super::lamented::Lamented;
use super::login::{self, Judged, Login};
use super::pool::Pool;
use super::{Inner, Pkcs11Custodian, TokenPlace, absent, trouble_of};
use crate::offer::Offers;
use crate::{Pin, TokenFacts, TokenName, TokenSelector, TokenTrouble};

/// The most tokens that a message lists.
const LISTED_MAX: usize = 8;

/// A token that was found, and that nobody has shown a PIN yet.
pub struct FoundToken {
    name: TokenName,
    store: [u8; 16],
    context: Pkcs11,
    slot: Slot,
    keeper: Pkcs11Session,
    facts: TokenFacts,
    counted: bool,
}

impl FoundToken {
    /// Loads the module, finds the token and opens a session: everything that can fail before a PIN is shown.
    ///
    /// # Errors
    /// [`TokenTrouble`], never about the PIN but [`TokenTrouble::PinLocked`].
    pub fn find(place: &TokenPlace) -> Result<Self, TokenTrouble> {
        let context = load(&place.module)?;
        let (slot, info) = find(&context, &place.token)?;
        if info.user_pin_locked() {
            return Err(TokenTrouble::PinLocked { what: "the token says so, and was not asked".to_owned() });
        }
        let keeper = login::open(&context, slot).map_err(|fault| trouble_of(&fault))?;
        let counted = info.user_pin_count_low() || info.user_pin_final_try();
        let facts = facts_of(&context, &info);
        Ok(Self { name: place.name.clone(), store: place.store, context, slot, keeper, facts, counted })
    }

    /// Whether the token says that it counted a wrong PIN since the last right one (PKCS#11 2.40 §3.2,
    /// `CKF_USER_PIN_COUNT_LOW`). Not every token says so.
    #[must_use]
    pub fn has_counted_a_wrong_pin(&self) -> bool {
        self.counted
    }

    /// Shows the token the PIN, once.
    ///
    /// # Errors
    /// [`TokenTrouble`]. After [`TokenTrouble::PinWrong`] the PIN must not be shown again, nor without thought after
    /// [`TokenTrouble::PinUnanswered`].
    pub fn log_in(self, pin: Pin) -> Result<(Pkcs11Custodian, Judged), TokenTrouble> {
        let Self { name, store, context, slot, keeper, facts, .. } = self;
        let (login, judged) = Login::begin(keeper, pin)?;
        let inner = Inner {
            name,
            store,
            context,
            slot,
            facts,
            login: Mutex::new(login),
            handles: RwLock::default(),
            sessions: Pool::new(),
            lamented: Lamented::default(),
            trouble: Mutex::new(None),
            session_idle_max_ms: AtomicU64::new(u64::MAX),
            offers: Offers::new(),
        };
        Ok((Pkcs11Custodian(Arc::new(inner)), judged))
    }
}

impl fmt::Debug for FoundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FoundToken({})", self.name)
    }
}

fn load(module: &Path) -> Result<Pkcs11, TokenTrouble> {
    let place = module.display();
    let context =
        Pkcs11::new(module).map_err(|error| TokenTrouble::Module { what: format!("load {place}: {error}") })?;
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    // A module that loads is one; that it finds nothing to serve may pass.
    context.initialize(arguments).map_err(|error| trouble_of(&Fault::of(&format!("initialise {place}"), &error)))?;
    Ok(context)
}

/// The one token that the selector means.
fn find(context: &Pkcs11, selector: &TokenSelector) -> Result<(Slot, TokenInfo), TokenTrouble> {
    let failed = |error| trouble_of(&Fault::of("list the tokens", &error));
    let mut tokens = Vec::new();
    for slot in context.get_slots_with_token().map_err(failed)? {
        // A slot whose token went away in between is no reason not to find another.
        let Ok(info) = context.get_token_info(slot) else { continue };
        if info.token_initialized() {
            tokens.push((slot, info));
        }
    }
    let means = |info: &TokenInfo| match selector {
        TokenSelector::Label(label) => info.label() == label,
        TokenSelector::Serial(serial) => info.serial_number() == serial,
    };
    let mut found = tokens.iter().filter(|(_, info)| means(info));
    match (found.next(), found.next()) {
        (Some((slot, info)), None) => Ok((*slot, info.clone())),
        (Some(_), Some(_)) => Err(absent(&format!("{selector} means several tokens; name its serial"))),
        (None, _) => {
            let there: Vec<String> = tokens
                .iter()
                .take(LISTED_MAX)
                .map(|(_, info)| format!("label {:?} serial {:?}", info.label(), info.serial_number()))
                .collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(absent(&format!("no token has {selector}; there: {there}")))
        }
    }
}

fn facts_of(context: &Pkcs11, info: &TokenInfo) -> TokenFacts {
    let module = context.get_library_info().map_or_else(
        |_| String::new(),
        |library| format!("{} {}", library.library_description(), library.library_version()),
    );
    let firmware = info.firmware_version().to_string();
    TokenFacts::new(info.label(), info.serial_number(), info.manufacturer_id(), info.model(), &firmware, &module)
}
