// sealing.h: with which kind of key a test seals its repository.
#pragma once

namespace holdfast::test {

// A passphrase costs its slow derivation: few tests want it.
enum class Sealing { kNone, kKeyFile, kPassphrase };

}  // namespace holdfast::test
