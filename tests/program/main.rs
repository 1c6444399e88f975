//! Tests that start the program: what a user sees and types, and nothing of its insides.

mod command_line;
mod conform;
mod control;
mod crash;
mod doctor;
mod guest;
mod images;
mod kvm_faults;
mod kvm_guests;
mod linux;
mod models;
mod own_guests;
mod processor_guests;
mod switches;
mod user_space;
mod witness;
