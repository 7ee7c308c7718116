//! Headers and limits of what client and server exchange
