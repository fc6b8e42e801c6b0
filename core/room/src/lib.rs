//! Pure room state: who is in, what is published, what was asked and allowed.
