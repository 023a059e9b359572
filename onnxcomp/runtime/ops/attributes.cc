#include "ops/attributes.h"

#include <cstring>

#include "error.h"
#include "ort.h"

namespace onnxcomp {
namespace {

// `get` writes up to `count` numbers, or says in `count` how many there are where the pointer is null.
template <class Number, class Get>
bool read_list(const OrtApi& api, Get get, const OrtKernelInfo* info, const char* name, std::vector<Number>& value) {
  size_t count = 0;
  if (!ort::succeeded(api, get(info, name, nullptr, &count))) return false;
  value.resize(count);
  // A null pointer would ask for the size again, so an empty list is complete here.
  return count == 0 || ort::succeeded(api, get(info, name, value.data(), &count));
}

template <class Number>
bool copy_list(const std::optional<std::vector<char>>& data, std::vector<Number>& value) {
  if (!data) return false;
  value.resize(data->size() / sizeof(Number));
  if (!value.empty()) std::memcpy(value.data(), data->data(), value.size() * sizeof(Number));
  return true;
}

}  // namespace

// The ABI does not tell an absent attribute from one of another type, and reads lists as empty whatever the type;
// taking a default for an attribute of another type would compute something else than the model says.
void Attributes::check_absent(const char* name, const char* type) const {
  int64_t integer = 0;
  float real = 0;
  std::string string;
  std::vector<int64_t> integers;
  std::vector<float> reals;
  const bool is_list = (read(name, integers) && !integers.empty()) || (read(name, reals) && !reals.empty());
  if (is_list || read(name, integer) || read(name, real) || read(name, string))
    fail("attribute ", name, " must be ", type);
}

std::optional<int64_t> Attributes::integer(const char* name) const {
  int64_t value = 0;
  if (read(name, value)) return value;
  check_absent(name, "an integer");
  return std::nullopt;
}

std::optional<float> Attributes::real(const char* name) const {
  float value = 0;
  if (read(name, value)) return value;
  check_absent(name, "a float");
  return std::nullopt;
}

std::optional<std::string> Attributes::string(const char* name) const {
  std::string value;
  if (read(name, value)) return value;
  check_absent(name, "a string");
  return std::nullopt;
}

std::optional<std::vector<int64_t>> Attributes::integers(const char* name) const {
  std::vector<int64_t> value;
  if (read(name, value) && !value.empty()) return value;
  check_absent(name, "a list of integers");
  return std::nullopt;
}

std::optional<std::vector<float>> Attributes::reals(const char* name) const {
  std::vector<float> value;
  if (read(name, value) && !value.empty()) return value;
  check_absent(name, "a list of floats");
  return std::nullopt;
}

bool KernelAttributes::read(const char* name, int64_t& value) const {
  return ort::succeeded(api_, api_.KernelInfoGetAttribute_int64(info_, name, &value));
}

bool KernelAttributes::read(const char* name, float& value) const {
  return ort::succeeded(api_, api_.KernelInfoGetAttribute_float(info_, name, &value));
}

bool KernelAttributes::read(const char* name, std::vector<int64_t>& value) const {
  return read_list(api_, api_.KernelInfoGetAttributeArray_int64, info_, name, value);
}

bool KernelAttributes::read(const char* name, std::vector<float>& value) const {
  return read_list(api_, api_.KernelInfoGetAttributeArray_float, info_, name, value);
}

bool KernelAttributes::read(const char* name, std::string& value) const {
  size_t size = 0;
  if (!ort::succeeded(api_, api_.KernelInfoGetAttribute_string(info_, name, nullptr, &size))) return false;
  value.resize(size);
  if (!ort::succeeded(api_, api_.KernelInfoGetAttribute_string(info_, name, value.data(), &size))) return false;
  value.resize(size > 0 ? size - 1 : 0);  // the size counts the terminating zero
  return true;
}

std::optional<std::vector<char>> ShapeInferenceAttributes::bytes(const char* name, OrtOpAttrType type) const {
  const OrtOpAttr* attribute = nullptr;
  if (!ort::succeeded(api_, api_.ShapeInferContext_GetAttribute(context_, name, &attribute))) return std::nullopt;
  // The first call fails for want of room and tells how much is needed, or finds what fits one number.
  std::vector<char> value(sizeof(int64_t));
  size_t size = 0;
  if (!ort::succeeded(api_, api_.ReadOpAttr(attribute, type, value.data(), value.size(), &size))) {
    if (size <= value.size()) return std::nullopt;
    value.resize(size);
    if (!ort::succeeded(api_, api_.ReadOpAttr(attribute, type, value.data(), value.size(), &size))) return std::nullopt;
  }
  value.resize(size);
  return value;
}

bool ShapeInferenceAttributes::read(const char* name, int64_t& value) const {
  const auto data = bytes(name, ORT_OP_ATTR_INT);
  if (!data || data->size() != sizeof value) return false;
  std::memcpy(&value, data->data(), sizeof value);
  return true;
}

bool ShapeInferenceAttributes::read(const char* name, float& value) const {
  const auto data = bytes(name, ORT_OP_ATTR_FLOAT);
  if (!data || data->size() != sizeof value) return false;
  std::memcpy(&value, data->data(), sizeof value);
  return true;
}

bool ShapeInferenceAttributes::read(const char* name, std::vector<int64_t>& value) const {
  return copy_list(bytes(name, ORT_OP_ATTR_INTS), value);
}

bool ShapeInferenceAttributes::read(const char* name, std::vector<float>& value) const {
  return copy_list(bytes(name, ORT_OP_ATTR_FLOATS), value);
}

bool ShapeInferenceAttributes::read(const char* name, std::string& value) const {
  const auto data = bytes(name, ORT_OP_ATTR_STRING);
  if (!data) return false;
  value.assign(data->data(), data->size());
  if (!value.empty() && value.back() == '\0') value.pop_back();  // some versions count the terminating zero
  return true;
}

}  // namespace onnxcomp
