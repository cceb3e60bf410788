// What stands on a disk between two lives, looked at without a member.
#pragma once
#include <string>

#include "sim/disk.h"

namespace quoin::scenarios {

inline constexpr const char* kDataDir = "/data";
inline constexpr const char* kDbPath = "/data/member/snap/db";

// bolt's check of the whole database file: findings, one a line, or why it can't be opened; empty if it is
// sound or not there.
std::string check_db_image(sim::World& world, sim::SimDisk& disk);

// Whether the members bucket of the database and the ConfState beside it tell of the same members: both change in one
// commit, and both are sent to others. What is wrong, if anything is.
std::string check_conf_state_image(sim::World& world, sim::SimDisk& disk);

// Bytes that files hold on the disk.
uint64_t bytes_in_use(const sim::SimDisk& disk);

}  // namespace quoin::scenarios
