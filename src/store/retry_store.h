// retry_store.h: a Store that tries again for a while when the one below does not answer.
//
// Only kStoreUnavailable is tried again (with growing, jittered pauses), until `timeout` has passed
// since the call began; then the last error is thrown. An upload is not tried again: half of it may
// have been sent. All other errors pass at once. A stop request ends the waiting with kInterrupted.
//
// A create() whose answer was lost may have taken effect. When one is tried again and then finds
// the name taken by the very bytes that it was to put, it answers true: what it was asked to make
// is there.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>

#include "store/store.h"

namespace holdfast::store {

// `below` must outlive the result.
std::unique_ptr<Store> retrying(Store& below, std::chrono::milliseconds timeout,
                                std::stop_token stop);

}  // namespace holdfast::store
