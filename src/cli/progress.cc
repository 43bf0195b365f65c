#include "cli/progress.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <unistd.h>

#include <fmt/format.h>

#include "base/json.h"
#include "base/mutex.h"

namespace holdfast::cli {
namespace {

using std::chrono::steady_clock;

// A terminal's bar is drawn five times a second at most, a line in a log every ten seconds.
constexpr std::chrono::milliseconds kBarPause{200};
constexpr std::chrono::milliseconds kLinePause{10'000};

class StderrReporter : public Reporter {
 public:
  StderrReporter(ProgressStyle style, bool quiet, const WholeCommands& commands, const Clock& clock)
      : style_(style), quiet_(quiet), commands_(commands), clock_(&clock) {}
  ~StderrReporter() override {
    MutexLock lock(mutex_);
    clear_bar();
  }

  void phase(std::string_view name, uint64_t total_bytes) override {
    MutexLock lock(mutex_);
    clear_bar();
    name_ = name;
    position_.clear();
    total_ = total_bytes;
    done_ = 0;
    began_ = drawn_ = clock_->steady();
    if (quiet_ || style_ == ProgressStyle::kNone) return;
    if (style_ == ProgressStyle::kJson)
      write(Json::object().set("phase", name).set("total_bytes", total_bytes).dump(0) + "\n");
    else if (style_ == ProgressStyle::kLines)
      write(fmt::format("{}{}\n", name, total_bytes > 0 ? ": " + to_human_bytes(total_bytes) : ""));
  }

  void amount(uint64_t bytes) override { draw_when_due(done_.fetch_add(bytes) + bytes); }

  void position(std::string_view text) override {
    {
      MutexLock lock(mutex_);
      position_ = text;
    }
    draw_when_due(done_.load());
  }

  void note(std::string_view text) override {
    if (!quiet_) say("note", text);
  }
  void warning(std::string_view text) override { say("warning", text); }

 private:
  void draw_when_due(uint64_t done) {
    if (quiet_ || style_ == ProgressStyle::kNone) return;
    const steady_clock::time_point now = clock_->steady();
    if (now - drawn_.load() < (style_ == ProgressStyle::kBar ? kBarPause : kLinePause)) return;
    if (!mutex_.try_lock()) return;  // another thread is drawing
    drawn_ = now;
    draw(done, now);
    mutex_.unlock();
  }

  void say(std::string_view kind, std::string_view told) {
    const std::string text = commands_.complete(told);
    MutexLock lock(mutex_);
    clear_bar();
    if (style_ == ProgressStyle::kJson)
      write(Json::object().set(kind, text).dump(0) + "\n");
    else if (kind == "warning")
      write(fmt::format("WARNING:  {}\n", text));
    else
      write(fmt::format("{}\n", text));
  }

  void draw(uint64_t done, steady_clock::time_point now) HF_REQUIRES(mutex_) {
    const double elapsed = std::chrono::duration<double>(now - began_).count();
    const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
    const uint64_t total = std::max(total_, done);
    std::string eta;
    if (total_ > 0 && rate > 0)
      eta = fmt::format(", {} left", to_human(std::chrono::seconds(static_cast<int64_t>(
                                         static_cast<double>(total - done) / rate))));
    const std::string amount =
        total_ > 0 ? fmt::format("{} of {}", to_human_bytes(done), to_human_bytes(total))
                   : to_human_bytes(done);
    const std::string line =
        fmt::format("{}: {}{}{}, {}/s{}", name_, position_, position_.empty() ? "" : ", ", amount,
                    to_human_bytes(static_cast<uint64_t>(rate)), eta);
    if (style_ == ProgressStyle::kBar) {
      write(fmt::format("\r\x1b[K{}", line));
      bar_drawn_ = true;
    } else if (style_ == ProgressStyle::kJson) {
      Json progress =
          Json::object().set("phase", name_).set("done_bytes", done).set("total_bytes", total_);
      if (!position_.empty()) progress.set("position", position_);
      write(progress.dump(0) + "\n");
    } else {
      write(line + "\n");
    }
  }

  void clear_bar() HF_REQUIRES(mutex_) {
    if (bar_drawn_) write("\r\x1b[K");
    bar_drawn_ = false;
  }
  static void write(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

  const ProgressStyle style_;
  const bool quiet_;
  const WholeCommands commands_;
  const Clock* clock_;
  Mutex mutex_;
  std::string name_ HF_GUARDED_BY(mutex_);
  std::string position_ HF_GUARDED_BY(mutex_);
  uint64_t total_ HF_GUARDED_BY(mutex_) = 0;
  steady_clock::time_point began_ HF_GUARDED_BY(mutex_);
  bool bar_drawn_ HF_GUARDED_BY(mutex_) = false;
  std::atomic<uint64_t> done_{0};
  std::atomic<steady_clock::time_point> drawn_{};
};

}  // namespace

std::unique_ptr<Reporter> make_reporter(const Arguments& arguments, const Clock& clock) {
  ProgressStyle style = arguments.progress;
  if (style == ProgressStyle::kAuto)
    style = isatty(STDERR_FILENO) == 1 ? ProgressStyle::kBar : ProgressStyle::kLines;
  return std::make_unique<StderrReporter>(style, arguments.quiet, arguments.commands, clock);
}

}  // namespace holdfast::cli
