// The latents of a walk, frame by frame: of a seed, or of a file that `vidgan render --save-walk` wrote.
// "Walk files" in export/README.md says what its keys mean.
#pragma once

#include <nlohmann/json.hpp>

#include <fstream>
#include <memory>

#include "latents.hpp"

static const uint32_t centre_index = 0xFFFFFFFFu;  // of the latent that truncation turns to

static void refuse(bool wrong, const std::string& why) {
    if (wrong) throw std::runtime_error(why);
}

static uint64_t whole_number(const nlohmann::json& number, uint64_t most = UINT64_MAX) {
    refuse(!number.is_number_unsigned() || number.get<uint64_t>() > most, "not a whole number in its range: " + number.dump());
    return number.get<uint64_t>();
}

class Walk {
public:
    int64_t frames;
    std::vector<int64_t> labels;

    Walk(nlohmann::json content, size_t z_dim, uint64_t classes) {
        refuse(!content.is_object() || content.value("format", "") != (content.value("directions", nlohmann::json()).empty() ? "vidgan-walk-2" : "vidgan-walk-3"),
               "not a walk (vidgan-walk-2, or vidgan-walk-3 with directions)");
        for (auto entry = content.begin(); entry != content.end();)
            entry = entry->is_null() ? content.erase(entry) : std::next(entry);
        const auto its = content.value("z_dim", z_dim);
        refuse(its != z_dim, "z_dim " + std::to_string(its) + "; the model takes " + std::to_string(z_dim));
        refuse(content.contains("grid"), "it is a grid of walks; vidgan render --walk plays it");
        const bool timed = content.value("constant_speed", false) || content.contains("audio");
        refuse(timed && !content.contains("positions"), "not timed; vidgan render --walk with --save-walk adds the positions");
        frames = int64_t(whole_number(content.value("frames", nlohmann::json(120u)), 1000000000));
        path_ = content.value("path", "loop");
        closed_ = content.value("closed", true);
        const auto seed = whole_number(content.value("seed", nlohmann::json(0u)));
        hold_ = content.value("hold", 0.0);
        ease_ = content.value("ease", "linear");
        labels = content.value("labels", std::vector<int64_t>());
        const auto truncation = content.value("truncation", nlohmann::json(1));
        const auto scales = truncation.is_array() ? truncation.get<Row>() : Row{truncation.get<double>()};
        if (content.contains("positions")) positions_ = content["positions"].at(0).get<Row>();
        gain_ = content.value("gain", Row());
        const auto given = content.value("keyframes", nlohmann::json(usual_count()));
        count_ = given.is_array() ? int64_t(given.size()) : given.get<int64_t>();

        const bool stops = hold_ != 0 || ease_ != "linear", through = path_ == "loop" || path_ == "lerp" || path_ == "slerp" || path_ == "spline";
        refuse(!through && path_ != "circle" && path_ != "walk" && path_ != "noise", "path " + path_ + " is not known");
        refuse(ease_ != "linear" && ease_ != "smoothstep" && ease_ != "in-out", "ease " + ease_ + " is not known");
        refuse(!(hold_ >= 0 && hold_ < 1) || (stops && !through), "hold and ease do not go with the path " + path_);
        refuse(frames < 1 || count_ < (path_ == "circle" || path_ == "noise" ? 2 : 1), "frames or keyframes: too few");
        refuse(!through && path_ != "walk" && !closed_, "path " + path_ + " is always closed");
        for (const Row* table : {&positions_, &gain_}) {
            refuse(!table->empty() && int64_t(table->size()) != frames, "positions or gain: not one for each frame");
            for (double part : *table) refuse(!(part >= 0 && part <= 1), "positions or gain: from 0 to 1");
        }
        for (int64_t label : labels) refuse(label < 0 || uint64_t(label) >= classes, "labels: the model has " + std::to_string(classes) + " classes");
        refuse(scales.empty(), "truncation: no number");
        for (double scale : scales) {
            refuse(!(scale >= 0 && scale <= 1), "truncation: from 0 to 1");
            angles_.push_back({std::acos(scale) / (pi / 2)});  // from the latents, of a right angle
        }
        for (int64_t label : labels.empty() ? std::vector<int64_t>{0} : labels) {
            one_hot_.emplace_back(classes);
            if (classes) one_hot_.back()[label] = 1;
        }
        for (const auto& one : content.value("directions", nlohmann::json::array())) {
            std::vector<Row> strengths;
            for (double strength : one.at("strengths").get<Row>()) strengths.push_back({strength});
            sliders_.emplace_back(strengths, one.at("vector").get<Row>());
            refuse(strengths.empty() || sliders_.back().second.size() != z_dim, "directions: each has strengths and a vector of " + std::to_string(z_dim) + " numbers");
        }
        centre_ = gaussian(seed, centre_index, z_dim);
        keyframes_ = std::make_unique<Keyframes>(count_, closed_, [=](int64_t i) {
            if (!given.is_array()) return gaussian(seed, uint32_t(i), z_dim);
            const auto& entry = given[i];
            if (!entry.contains("latent")) return gaussian(whole_number(entry.at("seed")), uint32_t(whole_number(entry.at("index"), UINT32_MAX)), z_dim);
            const auto latent = entry["latent"].get<std::vector<float>>();
            const Row z(latent.begin(), latent.end());
            refuse(z.size() != z_dim || !(norm(z) > 0), "a keyframe is not " + std::to_string(z_dim) + " numbers that are not all zero");
            return z;
        });
    }

    std::vector<float> latent(int64_t frame) {
        const double t = position(frame), gain = gain_.empty() ? 1 : gain_[frame];
        double at = t * (closed_ ? count_ : count_ - 1);
        if (hold_ != 0 || ease_ != "linear") {  // half of the hold is before a keyframe
            double u = std::min(1.0, std::max(0.0, (at - std::floor(at) - hold_ / 2) / (1 - hold_)));
            if (ease_ == "smoothstep") u = 3 * u * u - 2 * u * u * u;
            if (ease_ == "in-out") u = (1 - std::cos(pi * u)) / 2;
            at = std::floor(at) + u;
        }
        const double turn = (1 - (1 - in_turn(angles_, t)[0]) * gain) * (pi / 2);
        Row z = sum(std::cos(turn), curve(path_, *keyframes_, at), std::sin(turn), centre_);
        for (const auto& [strengths, vector] : sliders_) z = sum(1, z, in_turn(strengths, t)[0], vector);
        return {z.begin(), z.end()};
    }

    std::vector<float> class_weights(int64_t frame) {
        const Row weights = in_turn(one_hot_, position(frame));
        return {weights.begin(), weights.end()};
    }

private:
    int64_t usual_count() const {
        if (path_ == "circle") return 2;
        return std::max<int64_t>(path_ == "noise" || path_ == "walk" ? 4 : closed_ ? 3 : 2, std::llrint(frames / 30.0));
    }

    double position(int64_t frame) const {
        return positions_.empty() ? double(frame) / std::max<int64_t>(1, closed_ ? frames : frames - 1) : positions_[frame];
    }

    // Rows one after the other over the path, with smooth changes.
    Row in_turn(const std::vector<Row>& rows, double t) const {
        const auto n = int64_t(rows.size()) - (closed_ && rows.size() > 1 && rows.front() == rows.back());
        const double at = t * (closed_ ? n : n - 1), u = at - std::floor(at), share = 3 * u * u - 2 * u * u * u;
        const auto i = int64_t(std::floor(at));
        return sum(1 - share, rows[i % n], share, rows[(i + 1) % n]);
    }

    std::string path_, ease_;
    bool closed_;
    double hold_;
    int64_t count_;
    Row positions_, gain_, centre_;
    std::vector<Row> angles_, one_hot_;
    std::vector<std::pair<std::vector<Row>, Row>> sliders_;  // directions of latents, and strengths to go through
    std::unique_ptr<Keyframes> keyframes_;
};

// The walk in a file.
static Walk read_walk(const std::string& file, size_t z_dim, uint64_t classes) {
    std::ifstream bytes(file, std::ios::binary);
    if (!bytes) throw std::runtime_error(file + ": no such file");
    try {
        Walk walk(nlohmann::json::parse(bytes), z_dim, classes);
        walk.latent(0);
        return walk;
    } catch (const nlohmann::json::parse_error&) {
        throw std::runtime_error(file + ": not JSON");
    } catch (const nlohmann::json::exception& error) {
        throw std::runtime_error(file + ": not a walk: " + error.what());
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(file + ": " + error.what());
    }
}
