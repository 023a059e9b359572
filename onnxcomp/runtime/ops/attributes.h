// A node's attributes, read the same way when a kernel is created and when shapes are inferred.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "abi.h"

namespace onnxcomp {

// Each reader returns nothing where the attribute is absent or an empty list; Error where it has another type.
class Attributes {
 public:
  virtual ~Attributes() = default;

  std::optional<int64_t> integer(const char* name) const;
  std::optional<std::vector<int64_t>> integers(const char* name) const;
  std::optional<float> real(const char* name) const;
  std::optional<std::vector<float>> reals(const char* name) const;
  std::optional<std::string> string(const char* name) const;

 protected:
  // Whether the attribute is there and has the type asked for.
  virtual bool read(const char* name, int64_t& value) const = 0;
  virtual bool read(const char* name, std::vector<int64_t>& value) const = 0;
  virtual bool read(const char* name, float& value) const = 0;
  virtual bool read(const char* name, std::vector<float>& value) const = 0;
  virtual bool read(const char* name, std::string& value) const = 0;

 private:
  // Throws Error where the attribute has a value of any type.
  void check_absent(const char* name, const char* type) const;
};

class KernelAttributes final : public Attributes {
 public:
  KernelAttributes(const OrtApi& api, const OrtKernelInfo* info) : api_(api), info_(info) {}

 protected:
  bool read(const char* name, int64_t& value) const override;
  bool read(const char* name, std::vector<int64_t>& value) const override;
  bool read(const char* name, float& value) const override;
  bool read(const char* name, std::vector<float>& value) const override;
  bool read(const char* name, std::string& value) const override;

 private:
  const OrtApi& api_;
  const OrtKernelInfo* info_;
};

class ShapeInferenceAttributes final : public Attributes {
 public:
  ShapeInferenceAttributes(const OrtApi& api, const OrtShapeInferContext* context) : api_(api), context_(context) {}

 protected:
  bool read(const char* name, int64_t& value) const override;
  bool read(const char* name, std::vector<int64_t>& value) const override;
  bool read(const char* name, float& value) const override;
  bool read(const char* name, std::vector<float>& value) const override;
  bool read(const char* name, std::string& value) const override;

 private:
  // The attribute's bytes as the runtime stores a `type`; nothing where it is absent or cannot be read as one.
  std::optional<std::vector<char>> bytes(const char* name, OrtOpAttrType type) const;

  const OrtApi& api_;
  const OrtShapeInferContext* context_;
};

}  // namespace onnxcomp
