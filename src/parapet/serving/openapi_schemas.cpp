// Schemas of the API's bodies, as JSON text.
#include "parapet/serving/openapi_schemas.h"

namespace parapet::serving {

std::string_view openapi_requests() {
  return R"json({
  "Options": {
    "type": "object",
    "description": "Options of every dialect. Unknown fields are ignored and listed in unknown_fields.",
    "properties": {
      "id": {"type": ["string", "null"], "maxLength": 128, "description": "Echoed in the decision and the audit log."},
      "side": {"enum": ["input", "output", null], "description": "Input of a model (default) or its output."},
      "profile": {"type": ["string", "null"], "enum": [], "description": "One of the policy's profiles; empty = its default."},
      "tenant": {"type": ["string", "null"], "maxLength": 128, "description": "Whose request it is; an API key with a tenant wins."},
      "deadline_ms": {"type": ["number", "null"], "minimum": 1, "maximum": 600000, "description": "What is not scanned by then counts as not scanned. The server's own limit holds too."},
      "modify": {"type": ["boolean", "null"], "description": "Make the changed parts when the decision is modify (default true)."},
      "explain": {"type": ["boolean", "null"], "description": "Make saliency and attribution pictures (slow)."},
      "metadata": {"type": ["object", "null"], "maxProperties": 64, "additionalProperties": {"type": "string"}, "description": "Kept in the audit log when the policy says so."}
    }
  },
  "TextPart": {
    "type": "object", "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}, "label": {"type": ["string", "null"], "maxLength": 256}}
  },
  "ImageUrlPart": {
    "type": "object", "required": ["type", "image_url"],
    "description": "A data URI, or an https URL of a host that the policy allows.",
    "properties": {
      "type": {"const": "image_url"},
      "image_url": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}]},
      "label": {"type": ["string", "null"], "maxLength": 256}
    }
  },
  "ImagePart": {
    "type": "object", "required": ["type", "data"],
    "properties": {"type": {"const": "image"}, "data": {"type": "string", "description": "Base64 of a JPEG, PNG, WebP or GIF."}, "label": {"type": ["string", "null"], "maxLength": 256}}
  },
  "OtherPart": {
    "type": "object", "required": ["type"],
    "description": "Parts of other APIs: input_text, output_text, refusal, thinking, input_image, tool_use, tool_result, function_call and function_call_output are read; of every other type (input_audio, file, ...) the strings are, and the part counts as not scanned.",
    "properties": {"type": {"type": "string", "not": {"enum": ["text", "image_url", "image"]}}, "label": {"type": ["string", "null"], "maxLength": 256}}
  },
  "Part": {"oneOf": [{"$ref": "#/components/schemas/TextPart"}, {"$ref": "#/components/schemas/ImageUrlPart"}, {"$ref": "#/components/schemas/ImagePart"}, {"$ref": "#/components/schemas/OtherPart"}]},
  "ModerationRequest": {
    "type": "object", "required": ["input"],
    "properties": {
      "input": {"oneOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": "string"}, "description": "One result per text."},
        {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Part"}, "description": "One result for all parts together."}
      ]},
      "model": {"type": ["string", "null"], "maxLength": 256, "description": "Accepted and ignored: the policy names the models."},
      "parapet": {"oneOf": [{"$ref": "#/components/schemas/Options"}, {"type": "null"}]}
    }
  },
  "GuardRequest": {
    "allOf": [
      {"type": "object", "required": ["parts"], "properties": {"parts": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Part"}}}},
      {"$ref": "#/components/schemas/Options"}
    ]
  },
  "LitellmRequest": {
    "type": "object", "required": ["input_type"],
    "properties": {
      "input_type": {"enum": ["request", "response"]},
      "texts": {"type": ["array", "null"], "items": {"type": "string"}},
      "images": {"type": ["array", "null"], "items": {"type": "string"}, "description": "Data URIs, base64 or URLs."},
      "tools": {"description": "Names and descriptions of tools are scanned as texts."},
      "tool_calls": {"type": ["array", "null"], "description": "Names and arguments are scanned as texts: what their JSON says, escapes decoded.",
        "items": {"type": "object"}},
      "structured_messages": {"description": "What they carry beside the texts and images is scanned too; audio and files count as not scanned."},
      "request_data": {"type": ["object", "null"], "description": "Who called: user_api_key_* strings are kept as metadata."},
      "request_headers": {"description": "Accepted."},
      "litellm_call_id": {"type": ["string", "null"], "maxLength": 256},
      "litellm_trace_id": {"type": ["string", "null"], "maxLength": 256},
      "litellm_version": {"description": "Accepted."},
      "model": {"description": "Accepted."},
      "additional_provider_specific_params": {"oneOf": [{"$ref": "#/components/schemas/Options"}, {"type": "null"}]}
    }
  }
})json";
}

std::string_view openapi_replies() {
  return R"json({
  "Error": {
    "type": "object", "required": ["error"],
    "properties": {"error": {"type": "object", "required": ["message", "type", "param", "code"],
      "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]}, "code": {"type": "string"}}}}
  },
  "Action": {"enum": ["allow", "flag", "modify", "block"]},
  "Policy": {"type": "object", "required": ["name", "version", "hash"], "properties": {"name": {"type": "string"}, "version": {"type": "string"}, "hash": {"type": "string"}}},
  "Category": {
    "type": "object", "required": ["category", "score", "scores", "severity", "action", "shadow_action", "review"],
    "properties": {
      "category": {"type": "string"}, "parent": {"type": "string"},
      "score": {"type": "number", "minimum": 0, "maximum": 1},
      "scores": {"type": "object", "additionalProperties": {"type": "number"}, "description": "By modality: text, image, joint."},
      "severity": {"type": "integer", "minimum": 0, "maximum": 7}, "severity_name": {"enum": ["safe", "low", "medium", "high"]},
      "action": {"$ref": "#/components/schemas/Action"}, "shadow_action": {"$ref": "#/components/schemas/Action"},
      "review": {"type": "boolean"}, "flag_at": {"type": ["number", "null"]}, "block_at": {"type": ["number", "null"]},
      "flag_from": {"type": "string", "description": "The heads' threshold that flag_at is, when the policy names it: fpr1, recall95, best_f1."},
      "block_from": {"type": "string", "description": "The same for block_at."},
      "decided_by": {"enum": ["text", "image", "joint"]}, "part": {"type": "integer"}, "label": {"type": "string"}
    }
  },
  "Decision": {
    "type": "object",
    "required": ["id", "action", "shadow_action", "review", "complete", "reason", "parts", "categories", "rules", "not_scanned", "policy", "models", "timings", "milliseconds"],
    "properties": {
      "id": {"type": "string"}, "action": {"$ref": "#/components/schemas/Action"},
      "shadow_action": {"$ref": "#/components/schemas/Action", "description": "Had every shadow rule been enforced."},
      "clean": {"type": "boolean"}, "review": {"type": "boolean", "description": "Undecided: for a person."},
      "complete": {"type": "boolean", "description": "Every part was scanned by every level that the policy asks for."},
      "reason": {"type": "string"}, "side": {"enum": ["input", "output"]}, "profile": {"type": "string"}, "tenant": {"type": "string"},
      "parts": {"type": "array", "items": {"type": "object", "required": ["label", "state", "action"], "properties": {
        "label": {"type": "string"}, "modality": {"enum": ["text", "image", "other"]}, "type": {"type": "string"}, "state": {"enum": ["scanned", "partly_scanned", "not_scanned"]},
        "scanned_by": {"type": "array", "items": {"type": "string"}}, "action": {"$ref": "#/components/schemas/Action"}, "bytes": {"type": "integer"}}}},
      "categories": {"type": "array", "items": {"$ref": "#/components/schemas/Category"}},
      "rules": {"type": "array", "items": {"type": "object", "required": ["rule", "kind", "category", "action"]}},
      "scores": {"type": "array", "items": {"type": "object"}},
      "not_scanned": {"type": "array", "items": {"type": "object", "required": ["part", "level", "reason"], "properties": {"reason": {"type": "string"}, "detail": {"type": "string"}}}},
      "modified": {"type": "array", "items": {"type": "object"}},
      "explanations": {"type": "array", "items": {"type": "object"}},
      "policy": {"$ref": "#/components/schemas/Policy"},
      "models": {"type": "array", "items": {"type": "object", "required": ["name", "version"]}},
      "timings": {"type": "array", "items": {"type": "object", "required": ["level", "milliseconds"]}},
      "milliseconds": {"type": "number"},
      "unknown_fields": {"type": "array", "items": {"type": "string"}}
    }
  },
  "ModerationReply": {
    "type": "object", "required": ["id", "model", "results"],
    "properties": {
      "id": {"type": "string"}, "model": {"type": "string"},
      "results": {"type": "array", "items": {"type": "object", "required": ["flagged", "categories", "category_scores", "category_applied_input_types", "parapet"],
        "properties": {
          "flagged": {"type": "boolean"},
          "categories": {"type": "object", "minProperties": 13, "additionalProperties": {"type": "boolean"}},
          "category_scores": {"type": "object", "minProperties": 13, "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}},
          "category_applied_input_types": {"type": "object", "minProperties": 13, "additionalProperties": {"type": "array", "items": {"enum": ["text", "image"]}}},
          "parapet": {"$ref": "#/components/schemas/Decision"}}}},
      "parapet": {"type": "object", "properties": {"policy": {"$ref": "#/components/schemas/Policy"}, "milliseconds": {"type": "number"}, "unknown_fields": {"type": "array", "items": {"type": "string"}}}}
    }
  },
  "LitellmReply": {
    "type": "object", "required": ["action"],
    "properties": {
      "action": {"enum": ["BLOCKED", "NONE", "GUARDRAIL_INTERVENED"]}, "blocked_reason": {"type": "string"},
      "texts": {"type": "array", "items": {"type": "string"}}, "images": {"type": "array", "items": {"type": "string"}},
      "parapet": {"type": "object", "description": "The decision without pictures."}
    }
  },
  "ReloadReply": {
    "type": "object", "required": ["reloaded", "policy", "previous"],
    "properties": {"reloaded": {"const": true}, "policy": {"$ref": "#/components/schemas/Policy"}, "previous": {"$ref": "#/components/schemas/Policy"}}
  },
  "Health": {"type": "object", "required": ["status", "version"], "properties": {"status": {"enum": ["ok", "stalled"]}, "version": {"type": "string"}}},
  "Readiness": {"type": "object", "required": ["ready", "problems"], "properties": {"ready": {"type": "boolean"}, "problems": {"type": "array", "items": {"type": "string"}}}}
})json";
}

}  // namespace parapet::serving
