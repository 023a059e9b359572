// The unified format and what weights are rewritten as: every weight comes back; what disagrees is refused.
#include <cmath>
#include <string>
#include <vector>

#include "error.h"
#include "packing/sign_sums.h"
#include "packing/unified.h"
#include "testing.h"

namespace onnxcomp {
namespace {

using testing::DenseRows;
using testing::expect;

// Three blocks of 2 outputs x 3 channels with levels 1, -1, 0: unified, zero, free.
struct Stored {
  std::vector<uint8_t> kinds = {0b100001};
  std::vector<float> scales = {0.5f};
  std::vector<uint8_t> digits = {0 + 1 * 3 + 2 * 9 + 2 * 27 + 1 * 81, 0, 0, 0};  // the sixth is 0
  std::vector<float> values = {1, 2, 3, 4, 5, 6};
  std::vector<float> levels = {1, -1, 0};

  StoredUnified stored() const {
    return {2, 3, levels, kinds.data(), static_cast<int64_t>(kinds.size()),
            {scales.data(), false, static_cast<int64_t>(scales.size())}, digits.data(),
            static_cast<int64_t>(digits.size() / 4), 4, {values.data(), false, static_cast<int64_t>(values.size())}};
  }
};
constexpr WeightShape kShape = {1, 2, 3, 3};

void test_unified_weight() {
  const Stored parts;
  const UnifiedWeight weight(parts.stored(), kShape);
  std::vector<float> rows(18);
  for (int64_t output = 0; output < 2; ++output) weight.decode(output, rows.data() + output * 9);
  expect(rows == std::vector<float>{0.5f, 0, 1, -0.5f, 0, 2, 0, 0, 3, 0, 0, 4, -0.5f, 0, 5, 0.5f, 0, 6},
         "blocks hold the wrong weights");
}

template <class Change>
void expect_refusal(Change change, const char* message) {
  Stored parts;
  change(parts);
  std::string refusal;
  try {
    const UnifiedWeight weight(parts.stored(), kShape);
  } catch (const Error& error) {
    refusal = error.what();
  }
  expect(refusal.find(message) != std::string::npos, "'%s' does not say '%s'", refusal.c_str(), message);
}

void test_refusals() {
  expect_refusal([](Stored& s) { s.kinds = {0b100001, 0}; }, "kinds has 2 bytes, 3 blocks need 1 or none");
  expect_refusal([](Stored& s) { s.kinds = {0b1100001}; }, "past the weight's last block");
  expect_refusal([](Stored& s) { s.kinds = {0b110001}; }, "says 3 of block 2");
  expect_refusal([](Stored& s) { s.kinds = {}; }, "scales has 1 values, the weight has 3 blocks");
  expect_refusal([](Stored& s) { s.kinds = {0b010001}; }, "marks 2 unified blocks");
  expect_refusal([](Stored& s) { s.values.pop_back(); }, "marks 1 free blocks of 6, 5 values");
  expect_refusal([](Stored& s) { s.scales[0] = INFINITY; }, "scale 0");
  expect_refusal([](Stored& s) { s.scales[0] = 0; }, "scale 0");
  expect_refusal([](Stored& s) { s.scales[0] = NAN; }, "scale 0");
  expect_refusal([](Stored& s) { s.digits = {255, 255, 255, 255}; }, "more than 16 digits of 3 levels");
  expect_refusal([](Stored& s) { s.digits[3] = 1; }, "past the last weight");
  expect_refusal([](Stored& s) { s.digits.resize(8); }, "digits has shape 2x4");
  expect_refusal([](Stored& s) { s.levels = {1, -1}; }, "6 digits of 2 levels need 1x2");
}

void test_digit_bytes() {
  const int64_t expected[] = {2, 4, 4, 5, 6, 6, 6, 7};
  for (int64_t base = 2; base <= kMostLevels; ++base)
    expect(digit_bytes(base) == expected[base - 2], "bytes of 16 digits of %d", static_cast<int>(base));
}

// A weight of sums as one of channels: sum p of four subtracts channel i + 1 where bit i of p is set.
std::vector<float> undone(const Bitmap& bitmap, const WeightShape& shape) {
  const int64_t columns = shape_of_sums(shape).channels * shape.taps;
  std::vector<float> weight(shape.groups * shape.outputs * shape.channels * shape.taps);
  bitmap.for_each([&](int64_t element, int64_t index) {
    const int64_t sum = element % columns / shape.taps;
    for (int64_t i = 0; i < kQuad; ++i) {
      const int64_t channel = sum / kSums * kQuad + i;
      if (channel >= shape.channels) continue;
      const bool subtracted = i > 0 && (sum % kSums >> (i - 1) & 1) != 0;
      weight[(element / columns * shape.channels + channel) * shape.taps + element % shape.taps] +=
          subtracted ? -bitmap.value(index) : bitmap.value(index);
    }
  });
  return weight;
}

void test_sums() {
  struct {
    std::vector<float> four;
    int64_t terms;
  } const cases[] = {
      {{0, 0, 0, 0}, 0},    {{-0.0f, 0, 0, 0}, 0}, {{2, 2, 2, 2}, 1},      {{-2, 2, -2, 2}, 1}, {{-1, -1, -1, 1}, 1},
      {{0, 0, 0, 3}, 2},    {{1, -1, 0, 1}, 2},    {{-4, 2, -2, -4}, 2},   {{0, -1, 0, 1}, 2},  {{1, 2, 3, 4}, 4},
      {{4, -2, 0, 1}, 4},   {{3, 1, 1, 1}, 2},     {{-1, 1, 0.5f, 0}, 4},
  };
  for (const auto& c : cases) {
    const WeightShape shape = {1, 1, 4, 1};
    const DenseRows rows(c.four, 4);
    const EntryCounts counts = count_entries(rows, shape);
    expect(counts.sums == c.terms, "%g %g %g %g take %d terms", double{c.four[0]}, double{c.four[1]}, double{c.four[2]},
           double{c.four[3]}, static_cast<int>(counts.sums));
    const WrittenWeight sums(rows, shape, Writing::sums);
    const Bitmap stored = sums.blocks().stored;
    expect(stored.count <= c.terms && undone(stored, shape) == c.four, "%g %g %g %g do not come back",
           double{c.four[0]}, double{c.four[1]}, double{c.four[2]}, double{c.four[3]});
  }
}

// Channels that are no multiple of four, groups and taps; whole numbers, so that their halves and quarters are exact.
void test_whole_weights() {
  std::mt19937 random(4);
  std::uniform_int_distribution<int> small(-2, 2);
  const WeightShape shape = {2, 3, 7, 5};
  std::vector<float> weight(2 * 3 * 7 * 5);
  for (float& w : weight) w = static_cast<float>(small(random));
  const DenseRows rows(weight, 35);
  const WrittenWeight sums(rows, shape, Writing::sums);
  const WrittenWeight plain(rows, shape, Writing::weights);
  sums.blocks().stored.check();
  plain.blocks().stored.check();
  expect(undone(sums.blocks().stored, shape) == weight, "sums are not the weight");
  expect(count_entries(rows, shape).weights == plain.blocks().stored.count, "wrong number of nonzeros");
  std::vector<float> unpacked(weight.size());
  const Bitmap stored = plain.blocks().stored;
  stored.for_each([&](int64_t element, int64_t i) { unpacked[element] = stored.value(i); });
  expect(unpacked == weight, "the bitmap is not the weight");

  const WeightShape in_fours = {1, 4, 7, 5};
  const WrittenWeight blocks(rows, in_fours, Writing::blocks);
  blocks.blocks().check();
  expect(count_entries(rows, in_fours).blocks == blocks.blocks().kept(), "wrong number of blocks");
  std::vector<float> of_blocks(4 * 35);
  blocks.blocks().for_each([&](int64_t, int64_t column, int64_t index) {
    for (int64_t r = 0; r < 4; ++r) of_blocks[r * 35 + column] = blocks.blocks().stored.value(index * 4 + r);
  });
  expect(std::equal(of_blocks.begin(), of_blocks.end(), weight.begin()), "blocks are not the weight");
  weight[40] = INFINITY;
  expect(!count_entries(rows, shape).finite, "an infinite weight is found");
}

}  // namespace
}  // namespace onnxcomp

int main() {
  onnxcomp::test_unified_weight();
  onnxcomp::test_refusals();
  onnxcomp::test_digit_bytes();
  onnxcomp::test_sums();
  onnxcomp::test_whole_weights();
  return onnxcomp::testing::verdict();
}
