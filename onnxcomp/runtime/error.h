// Errors inside the library: thrown, and turned into an OrtStatus where the runtime called us.
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace onnxcomp {

class Error : public std::exception {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

inline std::string text(const char* value) { return value; }
inline std::string text(const std::string& value) { return value; }
template <class Number>
std::string text(Number value) {
  return std::to_string(value);
}
// "3x3" for {3, 3}.
template <class Number>
std::string text(const std::vector<Number>& values) {
  std::string joined;
  for (Number value : values) {
    if (!joined.empty()) joined += 'x';
    joined += std::to_string(value);
  }
  return joined.empty() ? "nothing" : joined;
}

// Throws Error with the parts joined: fail("group ", group, " does not divide ", channels, " channels").
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error((text(parts) + ...));
}

}  // namespace onnxcomp
