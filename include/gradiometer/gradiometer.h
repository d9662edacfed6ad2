/* All of libgradiometer. */
#ifndef GRADIOMETER_GRADIOMETER_H
#define GRADIOMETER_GRADIOMETER_H

#include "gradiometer/bound.h"
#include "gradiometer/compare.h"
#include "gradiometer/curvature.h"
#include "gradiometer/data.h"
#include "gradiometer/diff.h"
#include "gradiometer/dynamics.h"
#include "gradiometer/eigen.h"
#include "gradiometer/ensemble.h"
#include "gradiometer/estimate.h"
#include "gradiometer/matrix.h"
#include "gradiometer/measures.h"
#include "gradiometer/net.h"
#include "gradiometer/onnx.h"
#include "gradiometer/operator.h"
#include "gradiometer/posterior.h"
#include "gradiometer/random.h"
#include "gradiometer/report.h"
#include "gradiometer/run.h"
#include "gradiometer/selftest.h"
#include "gradiometer/sgd.h"
#include "gradiometer/solve.h"
#include "gradiometer/spectrum.h"
#include "gradiometer/stability.h"
#include "gradiometer/status.h"
#include "gradiometer/survey.h"
#include "gradiometer/track.h"
#include "gradiometer/types.h"
#include "gradiometer/version.h"

#endif
