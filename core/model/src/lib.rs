//! The words of Lockgate: ids, layers, commands, events, policy questions and grants, carrier frames; data only.
