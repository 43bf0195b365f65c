#include "cli/progress.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/json.h"
#include "base/mutex.h"
#include "cli/terminal.h"

namespace holdfast::cli {
namespace {

using std::chrono::steady_clock;

// A terminal's bar is drawn five times a second at most, a line in a log every ten seconds.
constexpr std::chrono::milliseconds kBarPause{200};
constexpr std::chrono::milliseconds kLinePause{10'000};
constexpr size_t kUsualWidth = 80;

// "12 s" of what is to come; empty where that is nothing, or cannot be told.
std::string time_left(uint64_t done, uint64_t total, double rate) {
  if (total <= done || rate <= 0) return {};
  const auto seconds = static_cast<int64_t>(static_cast<double>(total - done) / rate);
  return to_human(std::chrono::seconds(std::max<int64_t>(seconds, 1))) + " left";
}

std::string amount_of(uint64_t done, uint64_t total) {
  return total > 0 ? fmt::format("{} of {}", to_human_bytes(done), to_human_bytes(total))
                   : to_human_bytes(done);
}

class StderrReporter : public ProgressReporter {
 public:
  StderrReporter(ProgressStyle style, const Arguments& arguments, const Clock& clock)
      : style_(style),
        quiet_(arguments.quiet),
        has_colour_(wants_colour(arguments.colour, STDERR_FILENO)),
        commands_(arguments.commands),
        clock_(&clock) {}
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
    else
      draw_bar(0, 0);
  }

  void clear() override {
    MutexLock lock(mutex_);
    clear_bar();
    name_.clear();
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
      write(has_colour_ ? coloured(fmt::format("WARNING:  {}\n", text))
                        : fmt::format("WARNING:  {}\n", text));
    else
      write(fmt::format("{}\n", text));
    if (is_bar_wanted()) draw_bar(done_.load(), rate(done_.load(), clock_->steady()));
  }

  bool is_bar_wanted() const { return style_ == ProgressStyle::kBar && !quiet_; }

  double rate(uint64_t done, steady_clock::time_point now) HF_REQUIRES(mutex_) {
    const double elapsed = std::chrono::duration<double>(now - began_).count();
    return elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  }

  void draw_bar(uint64_t done, double rate) HF_REQUIRES(mutex_) {
    if (name_.empty()) return;
    // The last column stays free: a terminal may go to the next line behind it.
    const size_t width = terminal_width(STDERR_FILENO);
    write(fmt::format("\r\x1b[K{}", to_string({.name = name_,
                                               .position = position_,
                                               .done = done,
                                               .total = total_ > 0 ? std::max(total_, done) : 0,
                                               .rate = rate},
                                              (width == 0 ? kUsualWidth : width) - 1)));
    bar_drawn_ = true;
  }

  void draw(uint64_t done, steady_clock::time_point now) HF_REQUIRES(mutex_) {
    const double per_second = rate(done, now);
    if (style_ == ProgressStyle::kBar) {
      draw_bar(done, per_second);
    } else if (style_ == ProgressStyle::kJson) {
      Json progress =
          Json::object().set("phase", name_).set("done_bytes", done).set("total_bytes", total_);
      if (!position_.empty()) progress.set("position", position_);
      write(progress.dump(0) + "\n");
    } else {
      const uint64_t total = total_ > 0 ? std::max(total_, done) : 0;
      std::string line = fmt::format("{}: {}", name_, position_);
      if (total > 0 || done > 0)
        line += fmt::format("{}{}, {}/s", position_.empty() ? "" : ", ", amount_of(done, total),
                            to_human_bytes(static_cast<uint64_t>(per_second)));
      if (const std::string left = time_left(done, total, per_second); !left.empty())
        line += ", " + left;
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
  const bool has_colour_;
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

std::string to_string(const BarLine& line, size_t columns) {
  constexpr size_t kWidestBar = 30, kNarrowestBar = 8;
  std::string begin = line.name;
  if (line.total > 0) begin += fmt::format(" {:3}%", line.done * 100 / line.total);
  // What is known, in the order in which it is shown, and how soon each is left out.
  struct Part {
    std::string text;
    int rank;  // the highest goes first
    bool is_shown = false;
  };
  std::vector<Part> parts;
  parts.push_back({.text = time_left(line.done, line.total, line.rate), .rank = 0});
  int rank = 1;
  for (std::string_view rest = line.position; !rest.empty();) {
    const size_t end = std::min(rest.find(", "), rest.size());
    parts.push_back({.text = std::string(rest.substr(0, end)), .rank = rank});
    rank = 4;
    rest.remove_prefix(std::min(end + 2, rest.size()));
  }
  if (line.done > 0 || line.total > 0) {
    parts.push_back({.text = amount_of(line.done, line.total), .rank = 2});
    parts.push_back({.text = to_human_bytes(static_cast<uint64_t>(line.rate)) + "/s", .rank = 3});
  }
  size_t used = columns_of(begin);
  for (int now = 0; now <= 4; ++now)
    for (Part& part : parts) {
      const size_t more = columns_of(part.text) + 2;
      if (part.rank != now || part.text.empty() || used + more > columns) continue;
      part.is_shown = true;
      used += more;
    }
  std::string out = line.name;
  if (line.total > 0) {
    const size_t space = columns > used + 3 ? std::min(columns - used - 3, kWidestBar) : 0;
    if (space >= kNarrowestBar) {
      const auto full = static_cast<size_t>(line.done * space / line.total);
      out += fmt::format(" [{}{}]", std::string(full, '#'), std::string(space - full, '-'));
    }
    out += begin.substr(line.name.size());
  }
  const char* between = line.total > 0 ? ", " : ": ";
  for (const Part& part : parts) {
    if (!part.is_shown) continue;
    out += between + part.text;
    between = ", ";
  }
  return cut_to(out, columns);
}

std::unique_ptr<ProgressReporter> make_reporter(const Arguments& arguments, const Clock& clock) {
  ProgressStyle style = arguments.progress;
  if (arguments.nagios) style = ProgressStyle::kNone;  // one line is all that is read
  if (style == ProgressStyle::kAuto)
    style = isatty(STDERR_FILENO) == 1 ? ProgressStyle::kBar : ProgressStyle::kLines;
  return std::make_unique<StderrReporter>(style, arguments, clock);
}

}  // namespace holdfast::cli
